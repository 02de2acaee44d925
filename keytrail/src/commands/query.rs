//! `keytrail query`: SQL over scanned files or over the store.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use keytrail_model::EventBatch;
use keytrail_store::{Lake, Store, event_columns, event_schema};
use serde_json::{Map, Value};

use super::lake;
use super::write::{credential_rows, ticket_rows};
use crate::cli::{Global, Query};
use crate::config::Config;
use crate::output::{self, Rows, note};
use crate::pack::Pack;
use crate::pipeline::{Pipeline, inputs};
use crate::tables::Known;
use crate::{commands::kept, commands::scan::summary, progress};

pub async fn run(global: &Global, query: &Query) -> Result<()> {
    let config = Config::load(global)?;
    let lake = if query.data.is_empty() { lake::existing(&config, query.lake.as_deref())? } else { None };
    let (events, known) = if !query.data.is_empty() {
        let (events, known) = scanned(global, query, &config)?;
        (Some(events), known)
    } else if lake.is_some() && query.store.is_none() && !kept::is_there(&config) {
        note(global, "no store yet: only `events` has rows");
        (None, Known::default())
    } else {
        let store = kept::open(&config, query.store.as_deref()).await?;
        (None, stored(&store).await?)
    };
    let context = session();
    if let Some(lake) = lake {
        context.register_table("events", Arc::new(lake_table(&context, &lake)?))?;
    }
    if let Some(events) = events {
        let batches: Vec<RecordBatch> = events.iter().map(event_columns).collect::<Result<_, _>>()?;
        context.register_table("events", Arc::new(MemTable::try_new(event_schema(), vec![batches])?))?;
    }
    for (name, batch) in known.tables()? {
        context.register_table(name, Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))?;
    }
    let frame = context.sql_with_options(&query.sql, reading_only()).await.map_err(|error| planned(&error, query))?;
    let columns = frame.schema().fields().iter().map(|field| field.name().clone()).collect();
    let batches = frame.collect().await.context("the query failed")?;
    output::print(&rows(columns, &batches)?, global)
}

/// The lake's files as a table, read as the query needs them; `log` and `day` are the folders that they stand in.
fn lake_table(context: &SessionContext, lake: &Lake) -> Result<ListingTable> {
    context.register_object_store(lake.url(), lake.store());
    let folders = ["log", "day"].map(|name| (name.to_owned(), DataType::Utf8)).to_vec();
    let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
        .with_file_extension(".parquet")
        .with_table_partition_cols(folders);
    let url = ListingTableUrl::parse(lake.url().join("events/")?)?;
    let table = ListingTableConfig::new(url).with_listing_options(options).with_schema(event_schema());
    Ok(ListingTable::try_new(table)?)
}

fn session() -> SessionContext {
    let mut config = SessionConfig::new().with_information_schema(true);
    config.options_mut().sql_parser.enable_ident_normalization = false;
    let context = SessionContext::new_with_config(config);
    keytrail_sql::functions::all().into_iter().for_each(|function| context.register_udf(function));
    context
}

/// A question changes nothing: no tables are made, no files written.
fn reading_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// A query that does not plan: says what tables there are.
fn planned(error: &datafusion::error::DataFusionError, query: &Query) -> anyhow::Error {
    let text = error.strip_backtrace();
    let hint = if query.data.is_empty() && text.contains("'datafusion.public.events'") {
        "; events are read from files: add --data PATH or --lake PLACE"
    } else {
        ""
    };
    anyhow::anyhow!("the query cannot be run: {text}{hint}")
}

fn scanned(global: &Global, query: &Query, config: &Config) -> Result<(Vec<EventBatch>, Known)> {
    let pack = Pack::with(&config.rule_set(&query.rule_set))?;
    let mut pipeline = Pipeline::build(&pack, config.limits.limits())?;
    let (inputs, _) = inputs(&query.data)?;
    let mut events = Vec::new();
    let outcome = pipeline.run(&inputs, &progress::bytes(0, global.quiet), &mut |batch| events.push(batch))?;
    note(global, &summary(&outcome));
    let known = Known {
        credentials: credential_rows(&outcome),
        tickets: ticket_rows(&outcome),
        findings: outcome.findings,
        actions: outcome.actions,
        owners: pipeline.enricher.inventory().owners().cloned().collect(),
        rejects: outcome.rejects,
    };
    Ok((events, known))
}

async fn stored(store: &Store) -> Result<Known> {
    let findings = store.findings(&keytrail_store::FindingFilter::default()).await?;
    let mut owners: Vec<_> = findings
        .iter()
        .filter_map(|finding| finding.ownership.as_ref())
        .flat_map(|known| known.owners.clone())
        .collect();
    owners.sort_by(|left, right| left.id.cmp(&right.id));
    owners.dedup();
    Ok(Known {
        actions: store.actions(None).await?,
        credentials: store.credentials().await?,
        tickets: store.tickets().await?.into_iter().map(kept::ticket_row).collect(),
        rejects: store.rejects(i64::MAX).await?,
        owners,
        findings,
    })
}

fn rows(columns: Vec<String>, batches: &[RecordBatch]) -> Result<Rows> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::JsonArray>(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
    writer.finish()?;
    let bytes = writer.into_inner();
    let rows: Vec<Map<String, Value>> = if bytes.is_empty() { Vec::new() } else { serde_json::from_slice(&bytes)? };
    Ok(Rows { columns, rows })
}

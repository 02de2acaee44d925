//! The enriched columns as Arrow arrays, put back into a batch in the schema's order.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, ListBuilder, RecordBatch, RecordBatchOptions, StringViewBuilder,
};
use arrow::datatypes::{FieldRef, Schema};
use arrow::error::ArrowError;
use keytrail_model::{EventBatch, schema};

use super::Verdict;

/// The columns that enrichment fills or corrects.
pub const ENRICHED: [&str; 13] = [
    "agent",
    "agent_evidence",
    "tool",
    "prompt_ref",
    "credential_parent",
    "credential_age",
    "owner",
    "owner_confidence",
    "lease",
    "in_scope",
    "guardrails",
    "credential_lifetime",
    "credential_note",
];

/// Builders of the columns that enrichment writes, row by row.
#[derive(Default)]
pub struct Columns {
    agent: StringViewBuilder,
    agent_evidence: StringViewBuilder,
    tool: StringViewBuilder,
    prompt_ref: StringViewBuilder,
    parent: StringViewBuilder,
    age: Float64Builder,
    owner: StringViewBuilder,
    owner_confidence: Float64Builder,
    lease: StringViewBuilder,
    in_scope: BooleanBuilder,
    guardrails: ListBuilder<StringViewBuilder>,
    lifetime: StringViewBuilder,
    note: StringViewBuilder,
}

impl Columns {
    pub fn push(&mut self, batch: &EventBatch, row: usize, verdict: Verdict) {
        self.agent.append_option(verdict.agent);
        self.agent_evidence.append_option(verdict.agent_evidence);
        self.tool.append_option(verdict.tool);
        self.prompt_ref.append_option(verdict.prompt_ref);
        self.parent.append_option(verdict.parent);
        self.age.append_option(verdict.age);
        self.owner.append_option(verdict.owner);
        self.owner_confidence.append_option(verdict.owner_confidence);
        self.lease.append_option(verdict.lease);
        self.in_scope.append_option(verdict.in_scope);
        verdict.guardrails.iter().for_each(|id| self.guardrails.values().append_value(id));
        self.guardrails.append(true);
        let known = |column| if verdict.from_static { None } else { batch.text(column, row) };
        let lifetime = verdict.from_static.then_some("derived_from_static");
        self.lifetime.append_option(lifetime.or_else(|| known("credential_lifetime")));
        self.note.append_option(known("credential_note"));
    }

    /// In the order of `ENRICHED`.
    fn arrays(mut self) -> [ArrayRef; ENRICHED.len()] {
        [
            Arc::new(self.agent.finish()),
            Arc::new(self.agent_evidence.finish()),
            Arc::new(self.tool.finish()),
            Arc::new(self.prompt_ref.finish()),
            Arc::new(self.parent.finish()),
            Arc::new(self.age.finish()),
            Arc::new(self.owner.finish()),
            Arc::new(self.owner_confidence.finish()),
            Arc::new(self.lease.finish()),
            Arc::new(self.in_scope.finish()),
            Arc::new(self.guardrails.finish()),
            Arc::new(self.lifetime.finish()),
            Arc::new(self.note.finish()),
        ]
    }

    /// Columns of the schema first and in its order, then the raw paths as they were.
    pub fn finish(self, batch: &EventBatch) -> Result<RecordBatch, ArrowError> {
        let arrays = self.arrays();
        let old = &batch.batch;
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for field in schema::schema().fields() {
            let fresh = ENRICHED.iter().position(|name| name == field.name()).and_then(|at| arrays.get(at));
            if let Some(column) = fresh.or_else(|| old.column_by_name(field.name())) {
                fields.push(Arc::clone(field));
                columns.push(Arc::clone(column));
            }
        }
        let raw = old.schema_ref().fields().iter().zip(old.columns());
        for (field, column) in raw.filter(|(field, _)| schema::find(field.name()).is_none()) {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
        }
        let schema = Arc::new(Schema::new_with_metadata(fields, old.schema_ref().metadata().clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(old.num_rows()));
        RecordBatch::try_new_with_options(schema, columns, &options)
    }
}

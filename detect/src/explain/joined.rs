//! A SELECT that joins reference tables as clauses: its WHERE over the first joined rows that satisfy it, and whether
//! there are any.

use keytrail_sql::{Join, Planner, Select, SqlError};

use super::asker::Asker;
use super::clause::{Clause, Joined};
use super::found::{Event, Read};
use crate::joining::Joining;
use crate::reference::Reference;

pub(super) fn clause(
    select: &Select,
    planner: &Planner,
    reference: &Reference,
    event: &Event<'_>,
) -> Result<Clause, String> {
    let say = |error: SqlError| error.to_string();
    let (events, row) = (event.events, event.row);
    let shown = std::iter::empty();
    let (joining, _) = Joining::new(select, shown, events.batch.schema_ref(), planner).map_err(say)?;
    let rows = [u32::try_from(row).unwrap_or(u32::MAX)];
    let passed = !joining.pass(events, &rows, reference).map_err(say)?.is_empty();
    let wide = joining.widen(events, &rows, reference).map_err(say)?;
    let joined = Event::new(&wide, row);
    let asker = Asker::new(planner, &joined);
    let filter = select.filter.as_ref().map(|filter| asker.within(filter, select)).transpose()?;
    let reads: Vec<Read> = select.on().flat_map(|value| &value.names).map(|name| event.read(name)).collect();
    let tables: Vec<String> = select.joins.iter().map(told).collect();
    let written = format!("{}: rows as of the event's time that satisfy all of it", tables.join(", "));
    let found = Clause::test(written, Some(passed), reads);
    Ok(Clause::of("", Joined::All, filter.into_iter().chain([found]).collect()))
}

fn told(join: &Join) -> String {
    let on: Vec<String> = join.on.iter().map(|(column, value)| format!("{column} = {}", value.text)).collect();
    format!("{} {} by {}", join.table.name, join.alias, on.join(" and "))
}

//! The one integration test binary. Each module is a promise of the product, tested as its user meets it.

mod golden; // what each mapping makes of its records, column by column
mod provider_models; // planned calls against the providers' published models
mod reference; // the promised counts over public logs
mod reference_page; // docs/REFERENCE.md against the tables in the code
mod rules; // every shipped rule, mapping, playbook and guardrail
mod tidy; // the shape of the repository itself

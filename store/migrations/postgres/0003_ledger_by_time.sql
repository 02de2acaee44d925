-- Messages that will not come again are forgotten by their time.
CREATE INDEX ledger_by_time ON ledger (source, at);

-- What this file is: whose history, in which version (rows cluster, schema).
CREATE TABLE meta (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Lives of the journal, in their order; a restore from a backup begins one.
-- Events up to the one before_* names were never told.
CREATE TABLE incarnations (
	n              INTEGER PRIMARY KEY,
	name           TEXT NOT NULL UNIQUE,
	began_at       INTEGER NOT NULL,
	before_index   INTEGER NOT NULL,
	before_ordinal INTEGER NOT NULL
) STRICT;

-- How far this history is: of which incarnation, up to which entry of the
-- journal everything is here, and up to which event.
CREATE TABLE mark (
	one           INTEGER PRIMARY KEY CHECK (one = 1),
	incarnation   INTEGER NOT NULL,
	through       INTEGER NOT NULL,
	event_index   INTEGER NOT NULL,
	event_ordinal INTEGER NOT NULL,
	event_at      INTEGER NOT NULL
) STRICT;
INSERT INTO mark VALUES (1, 0, 0, 0, 0, 0);

CREATE TABLE counts (
	kind  TEXT PRIMARY KEY,
	rows  INTEGER NOT NULL,
	bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Events after one and up to another that are not here and never will be.
CREATE TABLE gaps (
	n             INTEGER PRIMARY KEY,
	incarnation   INTEGER NOT NULL,
	after_index   INTEGER NOT NULL,
	after_ordinal INTEGER NOT NULL,
	through_index   INTEGER NOT NULL,
	through_ordinal INTEGER NOT NULL,
	after_at      INTEGER NOT NULL,
	noted_at      INTEGER NOT NULL
) STRICT;

-- Names that rows refer to by number.
CREATE TABLE jobs (
	n    INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE agents (
	n     INTEGER PRIMARY KEY,
	agent TEXT NOT NULL,
	host  TEXT NOT NULL,
	url   TEXT NOT NULL,
	root  TEXT NOT NULL, -- sandbox_root
	UNIQUE (agent, host, url, root)
) STRICT;
CREATE INDEX agents_host ON agents (host);

-- Specs of deploys, each once.
CREATE TABLE specs (
	digest TEXT PRIMARY KEY,
	body   BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- k orders by the time of the end, and is unique. What rows are looked for by is
-- in the table's terms: an index that is written in runs, since the pages of
-- B-trees by job, by agent and so on would each be written for a row or two.
CREATE TABLE tasks (
	k       INTEGER PRIMARY KEY,
	version INTEGER NOT NULL,
	ident   INTEGER NOT NULL,
	job     INTEGER NOT NULL,
	agent   INTEGER NOT NULL,
	state   INTEGER NOT NULL,
	span    INTEGER NOT NULL,
	began   INTEGER NOT NULL,
	link    INTEGER NOT NULL,
	body    BLOB NOT NULL
) STRICT;
CREATE VIRTUAL TABLE tasks_terms USING fts5(terms, content='', contentless_delete=1, detail=none, tokenize='ascii');

CREATE TABLE runs (
	k       INTEGER PRIMARY KEY,
	version INTEGER NOT NULL,
	ident   INTEGER NOT NULL,
	job     INTEGER NOT NULL,
	agent   INTEGER NOT NULL,
	state   INTEGER NOT NULL,
	span    INTEGER NOT NULL,
	began   INTEGER NOT NULL,
	link    INTEGER NOT NULL,
	body    BLOB NOT NULL
) STRICT;
CREATE VIRTUAL TABLE runs_terms USING fts5(terms, content='', contentless_delete=1, detail=none, tokenize='ascii');

CREATE TABLE deploys (
	k       INTEGER PRIMARY KEY,
	version INTEGER NOT NULL,
	ident   INTEGER NOT NULL,
	job     INTEGER NOT NULL,
	agent   INTEGER NOT NULL,
	state   INTEGER NOT NULL,
	span    INTEGER NOT NULL,
	began   INTEGER NOT NULL,
	link    INTEGER NOT NULL,
	body    BLOB NOT NULL
) STRICT;
CREATE VIRTUAL TABLE deploys_terms USING fts5(terms, content='', contentless_delete=1, detail=none, tokenize='ascii');

-- Events in blocks: up to some hundred that follow each other, compressed.
CREATE TABLE events (
	k             INTEGER PRIMARY KEY,
	incarnation   INTEGER NOT NULL,
	first_index   INTEGER NOT NULL,
	first_ordinal INTEGER NOT NULL,
	last_index    INTEGER NOT NULL,
	last_ordinal  INTEGER NOT NULL,
	count         INTEGER NOT NULL,
	body          BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_id ON events (incarnation, last_index, last_ordinal);
CREATE VIRTUAL TABLE events_terms USING fts5(terms, content='', contentless_delete=1, detail=none, tokenize='ascii');

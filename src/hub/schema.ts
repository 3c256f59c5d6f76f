/** The register's tables. Append steps, never edit one that was released. */

/** registerSchema is the schema in steps. */
export const registerSchema: readonly string[] = [
  `
  -- One row: the mesh, the register's own identity, and the number of the last change.
  CREATE TABLE register (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch TEXT NOT NULL,
    revision INTEGER NOT NULL,
    -- Removals up to this revision are forgotten: older nodes get everything.
    floor INTEGER NOT NULL DEFAULT 0,
    mesh TEXT NOT NULL
  ) STRICT;

  -- Who has what. Numbers are never given to another node before an explicit removal; addresses are written out, so that
  -- a change of the arithmetic renumbers nobody.
  CREATE TABLE node (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE CHECK (number >= 1),
    public_key TEXT NOT NULL UNIQUE,
    hub INTEGER NOT NULL,
    overlay4 TEXT NOT NULL UNIQUE,
    overlay6 TEXT NOT NULL UNIQUE,
    pods4 TEXT UNIQUE,
    pods6 TEXT UNIQUE,
    -- JSON lists of endpoints.
    endpoints TEXT NOT NULL,
    local TEXT NOT NULL DEFAULT '[]',
    observed TEXT,
    mtu_bytes INTEGER,
    site TEXT
  ) STRICT;

  -- Keys that may never come back.
  CREATE TABLE revoked_key (public_key TEXT PRIMARY KEY, node TEXT NOT NULL) STRICT;

  CREATE TABLE token (
    id TEXT PRIMARY KEY,
    -- SHA-256 of the text.
    hash TEXT NOT NULL,
    uses INTEGER NOT NULL,
    -- Milliseconds since 1970, this machine's clock.
    expires_at_ms INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0,
    node TEXT
  ) STRICT;

  CREATE TABLE token_use (
    token TEXT NOT NULL REFERENCES token (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    public_key TEXT NOT NULL UNIQUE,
    address TEXT NOT NULL UNIQUE,
    -- The node key that was registered through this use.
    bound_key TEXT,
    -- A handshake with that key was seen.
    spent INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (token, number)
  ) STRICT;
  CREATE INDEX token_use_bound ON token_use (bound_key);

  -- What nodes follow: mesh, node/NAME, pair/A/B. A null value is a removal.
  CREATE TABLE published (
    key TEXT PRIMARY KEY,
    value TEXT,
    revision INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX published_revision ON published (revision);

  -- Paths of pairs, a < b, and how often each changed.
  CREATE TABLE pair (
    a TEXT NOT NULL,
    b TEXT NOT NULL,
    path TEXT NOT NULL CHECK (path IN ('direct', 'hub')),
    generation INTEGER NOT NULL,
    PRIMARY KEY (a, b)
  ) STRICT;
  `,
  `
  -- A path is an endpoint that the two nodes find by themselves; nobody publishes it.
  DROP TABLE pair;
  DELETE FROM published WHERE key LIKE 'pair/%';
  UPDATE register SET floor = revision;
  -- Where each hub sees the node: JSON, hub name to endpoint. What its router forwards: JSON list.
  UPDATE node SET observed = json_object((SELECT name FROM node WHERE hub = 1), observed) WHERE observed IS NOT NULL;
  ALTER TABLE node ADD COLUMN mapped TEXT NOT NULL DEFAULT '[]';
  `,
];

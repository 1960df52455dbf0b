-- The journal: what was applied, when, by whom, and what every changed row held before. It lives beside listmonk's
-- tables, in a schema of its own, so that an entry and the change it describes are committed together or not at all.
-- Rows are only ever added: an undo is an entry of its own, which names the run that it takes back.
-- Statements without parameters; run only where a table is missing, by whoever may create the schema.

CREATE SCHEMA IF NOT EXISTS listmonk_doctor;
COMMENT ON SCHEMA listmonk_doctor IS 'Journal of listmonk-doctor: repairs, undos and acknowledgements';

-- One campaign of one run. All campaigns of one `repair` or `undo` share the run.
CREATE TABLE IF NOT EXISTS listmonk_doctor.entries (
    run uuid NOT NULL,
    -- the schema that holds listmonk's tables: two installations may share a database
    listmonk_schema text NOT NULL,
    campaign_id integer NOT NULL,
    -- an id can be taken again after a restore, a uuid cannot
    campaign_uuid uuid NOT NULL,
    campaign_name text NOT NULL,
    listmonk_version text NOT NULL,
    strategy text NOT NULL,
    prefer text,
    reason text NOT NULL,
    -- the plan's changes: table, key, columns before and after
    changes jsonb NOT NULL,
    -- missed, duplicates, newcomers, would_mail: each [at least, at most]
    price jsonb NOT NULL,
    -- the whole plan as it was shown, sealed with its digest
    plan jsonb NOT NULL,
    -- all progress columns as they were found and as they were left; an undo wants the latter unchanged
    row_before jsonb NOT NULL,
    row_after jsonb NOT NULL,
    -- the run that this entry takes back; NULL for a repair
    undoes uuid,
    doctor_version text NOT NULL,
    applied_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    applied_by text NOT NULL DEFAULT session_user,
    client text NOT NULL DEFAULT coalesce(host(inet_client_addr()), 'unix socket'),
    PRIMARY KEY (run, campaign_id)
);
COMMENT ON TABLE listmonk_doctor.entries IS 'One campaign of one repair or undo';

-- Whatever else goes wrong, nothing is undone twice.
CREATE UNIQUE INDEX IF NOT EXISTS entries_undone_once
    ON listmonk_doctor.entries (undoes, campaign_id) WHERE undoes IS NOT NULL;

-- Acknowledgements: findings about this campaign are known, and need not be reported while its row stays as it is.
CREATE TABLE IF NOT EXISTS listmonk_doctor.accepted (
    run uuid NOT NULL,
    campaign_id integer NOT NULL,
    reason text NOT NULL,
    -- NULL: for good
    until timestamp with time zone,
    -- SHA-256 over the progress columns: a row that moved since is reported again
    fingerprint text NOT NULL,
    accepted_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    accepted_by text NOT NULL DEFAULT session_user,
    PRIMARY KEY (run, campaign_id),
    FOREIGN KEY (run, campaign_id) REFERENCES listmonk_doctor.entries (run, campaign_id)
);
COMMENT ON TABLE listmonk_doctor.accepted IS 'Acknowledged campaigns, until their row moves';

-- Live jobs only. Claiming reads and writes this table, never an index of the wide one.
create table jobs.tb_job_queue (
  job_id uuid primary key,
  seq bigint not null generated always as identity,
  state text not null,
  lane text collate "C" not null,
  service text collate "C" not null,
  tenant_id uuid,
  priority smallint not null,
  run_at timestamptz not null,
  gate text,
  attempt integer not null,
  max_attempts integer not null,
  timeout_seconds integer not null,
  retry_when_lost boolean not null,
  worker_id uuid,
  fence uuid,
  deadline timestamptz,
  constraint ck_job_queue_state check (state in ('ready', 'scheduled', 'gated', 'blocked', 'executing')),
  constraint ck_job_queue_gated_has_gate check (state <> 'gated' or gate is not null),
  constraint ck_job_queue_executing_is_held check (
    case when state = 'executing'
      then worker_id is not null and fence is not null and deadline is not null
      else worker_id is null and fence is null and deadline is null
    end)
) with (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_cost_delay = 0,
  -- Statistics of a table that is empty one moment and full the next turn a good plan into a bad one.
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 2000000000
);
create index ix_job_queue_ready on jobs.tb_job_queue (lane, service, priority, seq) where state = 'ready';
create index ix_job_queue_scheduled on jobs.tb_job_queue (run_at) where state = 'scheduled';
create index ix_job_queue_executing on jobs.tb_job_queue (worker_id) where state = 'executing';

create table jobs.tb_job_worker (
  worker_id uuid primary key,
  name text not null,
  pid integer not null,
  version text not null,
  lanes text[] not null,
  slots integer not null,
  lease interval not null,
  draining boolean not null default false,
  registered_at timestamptz not null default now(),
  heartbeat_at timestamptz not null,
  constraint ck_job_worker_slots check (slots between 1 and 10000),
  constraint ck_job_worker_lease check (lease between interval '1 second' and interval '1 hour')
) with (fillfactor = 50);

-- Written only when an attempt fails or is lost; a job that succeeds at once has no row here.
create table jobs.tb_job_attempt (
  job_id uuid not null,
  attempt integer not null,
  outcome text not null,
  worker_id uuid,
  started_at timestamptz,
  ended_at timestamptz not null,
  failure jsonb not null,
  env_version text,
  resource_usage jsonb,
  primary key (job_id, attempt),
  constraint ck_job_attempt_outcome check (outcome in ('failed', 'lost'))
);

-- Offsets count sanitised bytes per stream. A recorded attempt has one row per stream that had output.
create table jobs.tb_job_output (
  job_id uuid not null,
  attempt integer not null,
  stream text not null,
  "offset" bigint not null,
  bytes bytea not null,
  written_at timestamptz not null default now(),
  primary key (job_id, attempt, stream, "offset"),
  constraint ck_job_output_stream check (stream in ('stdout', 'stderr')),
  constraint ck_job_output_offset check ("offset" between 0 and 17 * 1024 * 1024),
  constraint ck_job_output_bytes check (octet_length(bytes) between 1 and 17 * 1024 * 1024)
);

create table jobs.tb_artifact (
  artifact_id uuid primary key,
  job_id uuid,
  attempt integer,
  tenant_id uuid,
  kind text not null,
  format text not null,
  name text not null,
  digest text not null,
  size_bytes bigint not null,
  content_type text not null,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  constraint ck_artifact_job_has_attempt check ((job_id is null) = (attempt is null)),
  constraint ck_artifact_digest check (digest ~ '^sha256:[0-9a-f]{64}$'),
  constraint ck_artifact_size check (size_bytes >= 0),
  constraint ck_artifact_name check (octet_length(name) between 1 and 1024),
  constraint ck_artifact_metadata check (pg_column_size(metadata) <= 65536)
);
comment on column jobs.tb_artifact.job_id is 'null for a dataset that was uploaded, not made by a job';
create index ix_artifact_job on jobs.tb_artifact (job_id) where job_id is not null;
create index ix_artifact_digest on jobs.tb_artifact (digest);
create unique index ux_artifact_dataset on jobs.tb_artifact (tenant_id, digest) nulls not distinct where job_id is null;

create function jobs.tg_refuse_artifact_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using
    errcode = 'JB008',
    message = format('ARTIFACT_IMMUTABLE: artifact %s cannot be changed', old.artifact_id),
    hint = 'An artifact is a fact about one file of one run; register a new one.';
end $$;
create trigger tg_refuse_artifact_change before update on jobs.tb_artifact
  for each row execute function jobs.tg_refuse_artifact_change();

-- Work that came in after its fence was gone. It changed nothing; a count that grows says that leases are too short.
create table jobs.tb_late_result (
  job_id uuid not null,
  operation text not null,
  late_count bigint not null default 1,
  first_at timestamptz not null default now(),
  last_at timestamptz not null default now(),
  primary key (job_id, operation)
);

create function jobs.count_late(p_job_ids uuid[], p_operation text) returns void
language sql set search_path = pg_catalog, pg_temp as $$
  insert into jobs.tb_late_result as l (job_id, operation, late_count)
  select g.job_id, p_operation, count(*)
  from unnest(p_job_ids) g (job_id)
  -- Only ids that exist, so that a confused worker cannot fill the table with invented ones.
  where exists (select from jobs.tb_job_run j where j.id = g.job_id)
  group by g.job_id
  order by g.job_id
  on conflict (job_id, operation) do update set late_count = l.late_count + excluded.late_count, last_at = now();
$$;

-- Runs once, as the administrator, after the roles exist and before the table's migration, on a database that already has a
-- jobs.tb_job_run of the older framework. One transaction holds all of it: it is adopted whole, or untouched.
lock table jobs.tb_job_run in access exclusive mode;

do $$
declare
  wrong text;
begin
  select string_agg(format('%s is %s, expected %s', e.name, format_type(a.atttypid, a.atttypmod), e.type), '; ') into wrong
  from (values ('id', 'uuid'), ('identifier', 'text'), ('idempotency_key', 'text'), ('service_name', 'text'), ('operation', 'text'),
               ('execution_type', 'text'), ('runner_config', 'jsonb'), ('resource_usage', 'jsonb'), ('security_context', 'jsonb'),
               ('input_data', 'jsonb'), ('output_data', 'jsonb'), ('error_message', 'text'), ('status', 'text'),
               ('attempts', 'integer'), ('max_attempts', 'integer'), ('timeout_seconds', 'integer'), ('tenant_id', 'uuid'),
               ('triggered_by', 'uuid'), ('correlation_id', 'text'), ('entity_type', 'text'), ('entity_pk', 'text'),
               ('created_at', 'timestamp with time zone'), ('started_at', 'timestamp with time zone'),
               ('completed_at', 'timestamp with time zone'), ('updated_at', 'timestamp with time zone')) e (name, type)
  join pg_catalog.pg_attribute a on a.attrelid = 'jobs.tb_job_run'::regclass and a.attname = e.name and not a.attisdropped
  where format_type(a.atttypid, a.atttypmod) <> e.type;
  if wrong is not null then
    raise exception using
      errcode = 'JB009',
      message = 'ADOPTION_INCOMPATIBLE: jobs.tb_job_run has columns of other types: ' || wrong,
      hint = 'Change their types with alter table … type … using …, then migrate again.';
  end if;
end $$;

-- Whoever could write the table goes on: with the rights of ergon_enqueue. Whoever could read a view can read it again.
create temporary table ergon_adopted_writer on commit drop as
select distinct r.rolname as role_name
from pg_catalog.pg_class c
cross join lateral (
  select c.relowner as role_id
  union
  select x.grantee from pg_catalog.aclexplode(c.relacl) x where x.privilege_type in ('INSERT', 'UPDATE')
) w
join pg_catalog.pg_roles r on r.oid = w.role_id
where c.oid = 'jobs.tb_job_run'::regclass and not r.rolsuper;

create temporary table ergon_adopted_reader on commit drop as
select distinct c.relname as view_name, coalesce(r.rolname, 'public') as role_name
from pg_catalog.pg_class c
cross join lateral pg_catalog.aclexplode(c.relacl) x
left join pg_catalog.pg_roles r on r.oid = x.grantee
where c.relnamespace = 'jobs'::regnamespace and c.relkind = 'v' and x.privilege_type = 'SELECT' and not coalesce(r.rolsuper, false);

do $$
declare
  old_constraint record;
  old_owner name;
begin
  for old_constraint in
    select k.conname
    from pg_catalog.pg_constraint k
    where k.conrelid = 'jobs.tb_job_run'::regclass and k.contype = 'c'
      and exists (select from pg_catalog.pg_attribute a
                  where a.attrelid = k.conrelid and a.attnum = any (k.conkey) and a.attname in ('execution_type', 'status'))
  loop
    execute format('alter table jobs.tb_job_run drop constraint %I', old_constraint.conname);
  end loop;

  -- The schema and table change hands; the old owner keeps what an owner could do with the schema's other objects.
  select r.rolname into old_owner
  from pg_catalog.pg_namespace n join pg_catalog.pg_roles r on r.oid = n.nspowner where n.nspname = 'jobs';
  alter schema jobs owner to ergon_owner;
  if old_owner <> 'ergon_owner' then
    execute format('grant usage, create on schema jobs to %I', old_owner);
  end if;
  alter table jobs.tb_job_run owner to ergon_owner;
end $$;

drop view if exists jobs.v_execution_performance_by_type, jobs.v_resource_usage_by_runner, jobs.v_runner_failure_patterns,
  jobs.v_job_stats, jobs.v_failing_services, jobs.v_job_queue_health, jobs.v_job_retry_patterns, jobs.v_service_reliability;
drop function if exists jobs.mark_job_started(uuid);
drop function if exists jobs.complete_job_successfully(uuid, jsonb);
drop function if exists jobs.fail_job(uuid, text);

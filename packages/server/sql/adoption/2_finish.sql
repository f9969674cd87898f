-- Runs once, as the administrator, after every other migration and in the same transaction as 1_prepare.sql.
-- Running rows get no live row: they belong to the external workers that took them, and the helper functions go on serving those.
set local role ergon_owner;
alter table jobs.tb_job_run alter column execution_type set default 'http';
update jobs.tb_job_run set execution_type = lower(execution_type)
where status in ('pending', 'running') and execution_type <> lower(execution_type);
select jobs.queue_jobs(array_agg(j.id order by j.created_at, j.id)) from jobs.tb_job_run j where j.status = 'pending' having count(*) > 0;
reset role;

do $$
declare
  writer record;
  reader record;
begin
  for writer in select w.role_name from ergon_adopted_writer w loop
    execute format('grant ergon_enqueue to %I', writer.role_name);
  end loop;
  for reader in
    select r.view_name, case r.role_name when 'public' then 'public' else quote_ident(r.role_name) end as role_name
    from ergon_adopted_reader r
    join pg_catalog.pg_class c on c.relname = r.view_name and c.relnamespace = 'jobs'::regnamespace
  loop
    -- The views show what their reader may see, so the reader needs the columns that they are made of.
    execute format('grant select on jobs.%I to %s', reader.view_name, reader.role_name);
    execute format('grant select (execution_type, service_name, operation, status, attempts, max_attempts, created_at, started_at, '
                   'completed_at, updated_at, resource_usage, error_message, failure, failure_category, failure_code, '
                   'dead_letter_reason) on jobs.tb_job_run to %s', reader.role_name);
  end loop;
end $$;

-- Callbacks: functions of the application that are told how a job ended. Whatever records a final outcome also writes down
-- that a callback is owed, by a trigger in the same statement; a worker then runs each in a transaction of its own, which
-- also deletes that row, so its effect happens exactly once or not at all.
--
-- Who may do what. The migration's owner registers functions (and whoever they grant register_callbacks to). A worker's own
-- login learns which callbacks are due and gets a token for each; it can run none. A login in the group ergon_callback runs
-- one, and only with its token: the function that it calls acts as the same role, may call what is granted to it here too,
-- and must neither take another callback nor tell of one. That login owns nothing and can become no other role, so there is
-- nothing that RESET ROLE could give back.

-- What is called. A name, not an oid: a function that is dropped and made anew is the same one, and dumps and upgrades of
-- the server keep names alone. Its signature is fixed, so a name says which.
create table jobs.tb_callback (
  registration_id integer primary key generated always as identity,
  entity text collate "C" not null,
  service text collate "C" not null,
  operation text collate "C" not null,
  success_schema text,
  success_function text,
  failure_schema text,
  failure_function text,
  registered_at timestamptz not null default clock_timestamp(),
  registered_by text not null default session_user,
  unique (entity, service, operation),
  constraint ck_callback_entity check (octet_length(entity) between 1 and 200),
  constraint ck_callback_service check (octet_length(service) between 1 and 200 and service = lower(service)),
  constraint ck_callback_operation check (octet_length(operation) between 1 and 200 and operation = lower(operation)),
  constraint ck_callback_success_is_whole check ((success_schema is null) = (success_function is null)),
  constraint ck_callback_failure_is_whole check ((failure_schema is null) = (failure_function is null))
);
comment on table jobs.tb_callback is 'a registration without functions was removed; callbacks that are owed wait for the next one';

-- What is owed. No foreign key: a job that is deleted has still ended, and the effect of that is still owed.
create table jobs.tb_job_callback (
  callback_id bigint primary key generated always as identity,
  registration_id integer not null,
  job_id uuid not null,
  outcome text not null,
  tenant_id uuid,
  triggered_by uuid,
  entity_pk text,
  -- As recorded: a failed job may be running again when its callback does.
  output_data jsonb,
  error_message text,
  recorded_at timestamptz not null default clock_timestamp(),
  attempts integer not null default 0,
  max_attempts integer not null default 10,
  -- Of a callback that a worker runs: when it counts as lost.
  due_at timestamptz not null default clock_timestamp(),
  token uuid,
  -- For whoever may look, and not learn the token.
  is_claimed boolean not null generated always as (token is not null) stored,
  last_error text,
  last_error_at timestamptz,
  failed_at timestamptz,
  constraint ck_job_callback_outcome check (
    (outcome = 'success' and output_data is not null and error_message is null)
    or (outcome = 'failure' and output_data is null and error_message is not null)),
  constraint ck_job_callback_attempts check (attempts >= 0 and max_attempts between 1 and 1000),
  constraint ck_job_callback_error check (octet_length(last_error) <= 16384 and (last_error is null) = (last_error_at is null)),
  constraint ck_job_callback_failed_is_let_go check (failed_at is null or token is null)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index ix_job_callback_due on jobs.tb_job_callback (registration_id, due_at) where failed_at is null;
create index ix_job_callback_job on jobs.tb_job_callback (job_id, callback_id);

-- Register -----------------------------------------------------------------------------------------------------------
create function jobs.refuse_callback(p_reason text, p_hint text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using errcode = 'JB030', message = 'CALLBACK_INVALID: ' || p_reason, hint = p_hint;
end $$;

-- Refuses here, in a migration and by name, what would else fail in every callback.
create function jobs.check_callback_function(p_what text, p_function regprocedure, p_second regtype) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  named record;
begin
  select p.oid, n.oid as schema, n.nspname, p.prokind, p.proretset, p.proargtypes::oid[] as args into named
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where p.oid = p_function;
  if not found then
    perform jobs.refuse_callback(format('%s %s does not exist', p_what, p_function::oid), 'Create the function before it is registered.');
  elsif named.prokind <> 'f' or named.proretset or (named.args[0], named.args[1]) is distinct from ('uuid'::regtype::oid, p_second::oid)
        or array_length(named.args, 1) <> 2 then
    perform jobs.refuse_callback(
      format('%s %s is not a function with the parameters (uuid, %s) that returns one value or void', p_what, p_function, p_second),
      'A callback gets the job''s id, and its output or its error message.');
  elsif named.nspname in ('jobs', 'information_schema') or named.nspname ~ '^pg_' then
    perform jobs.refuse_callback(format('%s %s is in the schema %s', p_what, p_function, named.nspname), 'Create it in a schema of the application.');
  elsif not has_schema_privilege('ergon_callback', named.schema, 'usage') then
    perform jobs.refuse_callback(
      format('%s %s cannot be called by the role ergon_callback, which may not use the schema %s', p_what, p_function, named.nspname),
      format('grant usage on schema %I to ergon_callback;', named.nspname));
  elsif not has_function_privilege('ergon_callback', named.oid, 'execute') then
    perform jobs.refuse_callback(
      format('%s %s cannot be called by the role ergon_callback', p_what, p_function),
      format('grant execute on function %s to ergon_callback;', p_function));
  end if;
end $$;

-- Has these functions called when a job of the entity, service and operation ends; replaces what was registered before,
-- null for nothing. The entity is that of the jobs' entity_type, letter by letter; the others in any case.
create function jobs.register_callbacks(entity text, service text, operation text,
                                        on_success regprocedure default null, on_failure regprocedure default null) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  stated record;
begin
  for stated in
    select * from (values ('entity', register_callbacks.entity), ('service', register_callbacks.service),
                          ('operation', register_callbacks.operation)) v (what, value)
  loop
    if stated.value is null or octet_length(stated.value) not between 1 and 200 then
      perform jobs.refuse_callback(format('the %s "%s" is not a name of 1 to 200 bytes', stated.what, left(stated.value, 100)),
                                   'Name them as the compiled INSERT does.');
    end if;
  end loop;
  -- With types: an adopted schema's former owner may create functions in it, and an untyped argument could find theirs.
  if on_success is not null then
    perform jobs.check_callback_function('on_success'::text, on_success, 'jsonb'::regtype);
  end if;
  if on_failure is not null then
    perform jobs.check_callback_function('on_failure'::text, on_failure, 'text'::regtype);
  end if;
  insert into jobs.tb_callback as c (entity, service, operation, success_schema, success_function, failure_schema, failure_function)
  select register_callbacks.entity, lower(register_callbacks.service), lower(register_callbacks.operation),
         s.schema, s.name, f.schema, f.name
  from (select 1) one
  left join (select p.oid, n.nspname as schema, p.proname as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace) s
    on s.oid = on_success
  left join (select p.oid, n.nspname as schema, p.proname as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace) f
    on f.oid = on_failure
  on conflict (entity, service, operation) do update
    set success_schema = excluded.success_schema,
        success_function = excluded.success_function,
        failure_schema = excluded.failure_schema,
        failure_function = excluded.failure_function,
        registered_at = excluded.registered_at,
        registered_by = excluded.registered_by;
end $$;

-- Record -------------------------------------------------------------------------------------------------------------
-- Every way in which a job ends is an UPDATE of its status: a worker's result, a rescue, a cancellation by function or by
-- an application, an external worker's word. It looks at no function, so one that is gone breaks no recording.
create function jobs.tg_owe_callback() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  insert into jobs.tb_job_callback (registration_id, job_id, outcome, tenant_id, triggered_by, entity_pk, output_data, error_message)
  select c.registration_id, new.id, case when new.status = 'completed' then 'success' else 'failure' end,
         new.tenant_id, new.triggered_by, new.entity_pk,
         -- Not null: a strict function would be passed over in silence.
         case when new.status = 'completed' then coalesce(new.output_data, 'null') end,
         case new.status
           when 'cancelled' then 'CANCELLED: the job was cancelled'
           when 'failed' then coalesce(left(new.error_message, 65536), 'the job failed without a message')
         end
  from jobs.tb_callback c
  -- The collations are stated: an adopted table may have others, and must go on recording.
  where c.entity = new.entity_type collate "C" and c.service = lower(new.service_name) collate "C"
    and c.operation = lower(new.operation) collate "C"
    and case when new.status = 'completed' then c.success_function else c.failure_function end is not null;
  return null;
end $$;
create trigger tg_7_owe_callback after update on jobs.tb_job_run
  for each row when (
    old.status is distinct from new.status and new.status in ('completed', 'failed', 'cancelled') and new.entity_type is not null
  ) execute function jobs.tg_owe_callback();

-- Run ----------------------------------------------------------------------------------------------------------------
-- 1, 2, 4 … 600 s, of which a random half is kept.
create function jobs.callback_delay(p_attempts integer) returns interval
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select make_interval(secs => least(600, power(2, least(greatest(p_attempts, 1) - 1, 10))) * (0.5 + random() / 2));
$$;

-- For a worker: of each registration at most the callback that has been due the longest, so that a slow function holds up its
-- own callbacks alone; none of the registrations that it is busy with. Which registrations is left to chance: the longest due
-- would be those of the slow functions. A row whose session is lost is due again while it is still locked, and passed over.
-- Callbacks of one job keep their order. The attempt is counted here: a function that takes its session or the worker down
-- must not be tried for ever.
create function jobs.claim_callbacks(p_most integer, p_busy integer[], p_lease_ms integer)
returns table (callback_id bigint, token uuid, registration_id integer, job_id uuid, outcome text, attempts integer)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  moment timestamptz := clock_timestamp();
begin
  return query
  with recursive owed (registration_id) as (
    (select c.registration_id from jobs.tb_job_callback c where c.failed_at is null order by c.registration_id limit 1)
    union all
    select n.registration_id
    from owed o
    cross join lateral (
      select c.registration_id from jobs.tb_job_callback c
      where c.failed_at is null and c.registration_id > o.registration_id
      order by c.registration_id limit 1
    ) n
  ), ready as materialized (
    select r.*
    from owed o
    join jobs.tb_callback r on r.registration_id = o.registration_id
    where o.registration_id <> all (p_busy) and coalesce(r.success_function, r.failure_function) is not null
    order by random()
  ), taken as materialized (
    select d.callback_id
    from ready r
    cross join lateral (
      select c.callback_id from jobs.tb_job_callback c
      where c.failed_at is null and c.registration_id = r.registration_id and c.due_at <= moment
        and case c.outcome when 'success' then r.success_function else r.failure_function end is not null
        and not exists (select from jobs.tb_job_callback e where e.job_id = c.job_id and e.callback_id < c.callback_id)
      order by c.due_at limit 1
      for update of c skip locked
    ) d
    limit p_most
  ), claimed as (
    update jobs.tb_job_callback c
    set attempts = least(c.attempts + 1, c.max_attempts),
        token = case when c.attempts < c.max_attempts then gen_random_uuid() end,
        due_at = moment + make_interval(secs => p_lease_ms / 1000.0),
        -- Its last run was never told the end of.
        failed_at = case when c.attempts >= c.max_attempts then moment end,
        last_error = case when c.attempts >= c.max_attempts
                       then coalesce(c.last_error, 'the session or the worker ended while the callback ran') else c.last_error end,
        last_error_at = case when c.attempts >= c.max_attempts then coalesce(c.last_error_at, moment) else c.last_error_at end
    where c.callback_id = any (array(select t.callback_id from taken t))
    returning c.callback_id, c.token, c.registration_id, c.job_id, c.outcome, c.attempts
  )
  select * from claimed d where d.token is not null;
end $$;

-- Locks one until the transaction ends; null when it is not this token's any more. Waits for whoever has it locked: a claim
-- that came second locks it for a moment before it sees that it did.
create function jobs.take_callback(
  p_callback_id bigint, p_token uuid,
  out job_id uuid, out outcome text, out tenant_id uuid, out triggered_by uuid, out entity_pk text, out output_data jsonb,
  out error_message text,
  out schema_name text, out function_name text, out is_there boolean
)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
declare
  owed jobs.tb_job_callback;
begin
  select * into owed from jobs.tb_job_callback c
  where c.callback_id = p_callback_id and c.token = p_token for update;
  if not found then
    return;
  end if;
  select case owed.outcome when 'success' then r.success_schema else r.failure_schema end,
         case owed.outcome when 'success' then r.success_function else r.failure_function end
  into schema_name, function_name
  from jobs.tb_callback r where r.registration_id = owed.registration_id;
  -- Withdrawn since it was claimed: it waits for the next registration.
  if function_name is null then
    return;
  end if;
  -- By its whole signature: a call by name could find another one that has a parameter more, with a default.
  is_there := exists (
    select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = schema_name and p.proname = function_name and p.prokind = 'f'
      and p.proargtypes = case owed.outcome when 'success' then '2950 3802' else '2950 25' end::oidvector);
  job_id := owed.job_id;
  outcome := owed.outcome;
  tenant_id := owed.tenant_id;
  triggered_by := owed.triggered_by;
  entity_pk := owed.entity_pk;
  output_data := owed.output_data;
  error_message := owed.error_message;
end $$;

create function jobs.finish_callback(p_callback_id bigint, p_token uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  delete from jobs.tb_job_callback c where c.callback_id = p_callback_id and c.token = p_token;
  if not found then
    perform jobs.refuse_callback(format('callback %s is not held with this token', p_callback_id), 'It is tried again.');
  end if;
end $$;

-- False when the token is not the current one. A worker has one connection for all its jobs, which must not wait here for a
-- session that is not gone yet.
create function jobs.fail_callback(p_callback_id bigint, p_token uuid, p_error text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' set enable_seqscan = off as $$
begin
  update jobs.tb_job_callback c
  set token = null,
      due_at = clock_timestamp() + jobs.callback_delay(c.attempts),
      failed_at = case when c.attempts >= c.max_attempts then clock_timestamp() end,
      last_error = left(p_error, 4000),
      last_error_at = clock_timestamp()
  where c.callback_id = p_callback_id and c.token = p_token;
  return found;
end $$;

-- The whole of one callback but BEGIN and COMMIT: in one statement, so that one clock bounds it and no setting that the
-- function changes reaches what comes after. Runs with the caller's rights, the function too. What the function raises is
-- noted here and goes to nobody: an error may be as long as its author likes. Whose operators are called is stated: a
-- function that ran before may have given its login another search path. 'done', 'failed' or 'gone'.
create function jobs.run_callback(p_callback_id bigint, p_token uuid) returns text
language plpgsql as $$
declare
  owed record;
begin
  owed := jobs.take_callback(p_callback_id, p_token);
  if owed.job_id is null then
    return 'gone';
  end if;
  begin
    if not owed.is_there then
      raise undefined_function using message = pg_catalog.format('the function %s.%s(uuid, %s) does not exist any more',
        owed.schema_name, owed.function_name, case when owed.outcome operator(pg_catalog.=) 'success' then 'jsonb' else 'text' end);
    end if;
    perform pg_catalog.set_config('ergon.tenant_id', coalesce(owed.tenant_id::text, ''), true),
            pg_catalog.set_config('ergon.user_id', coalesce(owed.triggered_by::text, ''), true),
            pg_catalog.set_config('ergon.entity_pk', coalesce(owed.entity_pk, ''), true);
    if owed.outcome operator(pg_catalog.=) 'success' then
      execute pg_catalog.format('select %I.%I($1, $2)', owed.schema_name, owed.function_name) using owed.job_id, owed.output_data;
    else
      execute pg_catalog.format('select %I.%I($1, $2)', owed.schema_name, owed.function_name) using owed.job_id, owed.error_message;
    end if;
    -- What the function left for the commit happens now, where a failure of it is a failure of the callback.
    set constraints all immediate;
  exception
    when others or query_canceled or assert_failure then
      perform jobs.fail_callback(p_callback_id, p_token, pg_catalog.format('%s (%s)', pg_catalog.left(sqlerrm, 3900), sqlstate));
      return 'failed';
  end;
  perform jobs.finish_callback(p_callback_id, p_token);
  return 'done';
end $$;

-- Operate ------------------------------------------------------------------------------------------------------------
-- Runs one as soon as a worker can, with its whole budget of attempts: 'queued', 'running' or 'not_found'.
create function jobs.retry_callback(callback_id bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '1s' as $$
#variable_conflict use_column
begin
  update jobs.tb_job_callback c
  set attempts = 0, failed_at = null, token = null, due_at = clock_timestamp()
  where c.callback_id = retry_callback.callback_id;
  return case when found then 'queued' else 'not_found' end;
exception
  when lock_not_available then return 'running';
end $$;

create view jobs.v_job_callback with (security_invoker = true) as
select c.callback_id, c.job_id, r.entity as entity_type, r.service as service_name, r.operation, c.outcome,
       case c.outcome
         when 'success' then quote_ident(r.success_schema) || '.' || quote_ident(r.success_function)
         else quote_ident(r.failure_schema) || '.' || quote_ident(r.failure_function)
       end as callback_function,
       case
         when c.failed_at is not null then 'failed'
         when case c.outcome when 'success' then r.success_function else r.failure_function end is null then 'unregistered'
         when c.is_claimed then 'running'
         when c.attempts > 0 then 'retrying'
         else 'waiting'
       end as state,
       c.attempts, c.max_attempts, c.due_at, c.last_error, c.last_error_at, c.failed_at, c.recorded_at, c.tenant_id,
       (select min(e.callback_id) from jobs.tb_job_callback e where e.job_id = c.job_id and e.callback_id < c.callback_id) as waits_for
from jobs.tb_job_callback c
join jobs.tb_callback r on r.registration_id = c.registration_id;
comment on column jobs.v_job_callback.waits_for is 'the earlier callback of the same job that comes first';

grant execute on function jobs.claim_callbacks(integer, integer[], integer), jobs.fail_callback(bigint, uuid, text) to ergon_worker;
grant execute on function
  jobs.run_callback(bigint, uuid), jobs.take_callback(bigint, uuid), jobs.finish_callback(bigint, uuid),
  jobs.fail_callback(bigint, uuid, text)
  to ergon_callback;
grant select on jobs.tb_callback, jobs.v_job_callback to ergon_api;
-- All but the token: with it a callback is ended that never ran.
grant select (callback_id, registration_id, job_id, outcome, tenant_id, triggered_by, entity_pk, output_data, error_message,
              recorded_at, attempts, max_attempts, due_at, is_claimed, last_error, last_error_at, failed_at)
  on jobs.tb_job_callback to ergon_api;
grant execute on function jobs.retry_callback(bigint) to ergon_api;

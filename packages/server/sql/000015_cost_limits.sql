-- What the services may cost in an hour, and locks that only our own functions can hold.
--
-- A cost is known when a call has ended, as the estimate that its worker reports. So this limit differs from the others:
-- a claim starts nothing more once the costs that are recorded reach it, and what runs then is beyond it.

alter table jobs.tb_worker_service add column max_cost_per_hour numeric,
  add constraint ck_worker_service_cost check (max_cost_per_hour >= 0);
alter table jobs.tb_service add column max_cost_per_hour numeric;
-- The expression of a generated column can be changed from PostgreSQL 17 on alone. Its index goes with it.
alter table jobs.tb_service drop column is_limited;
alter table jobs.tb_service add column is_limited boolean not null generated always as (
  max_concurrent is not null or rate_limit_per_minute is not null or max_invocations_per_hour is not null
  or max_cost_per_hour is not null) stored;
create index ix_service_limited on jobs.tb_service (service) where is_limited;

-- Plain inserts, which wait for nobody: two completions that record several services at once could lock rows that are
-- summed up in different orders. The sweep sums them up, so that a claim adds some thousand rows at the most.
create table jobs.tb_service_cost (
  service text collate "C" not null,
  -- Of the epoch, in which the cost was recorded.
  minute bigint not null,
  cost_usd numeric not null,
  is_sum boolean not null default false,
  constraint ck_service_cost check (cost_usd >= 0)
);
create index ix_service_cost_service on jobs.tb_service_cost (service, minute);
create index ix_service_cost_minute on jobs.tb_service_cost (minute);
create index ix_service_cost_new on jobs.tb_service_cost (minute) where not is_sum;

-- A worker's word, which may be anything by now: what is no number counts nothing, and no number can fail the statement.
create function jobs.note_cost(p_service text, p_resource_usage jsonb) returns void
language sql set search_path = pg_catalog, pg_temp as $$
  insert into jobs.tb_service_cost (service, minute, cost_usd)
  select s.service, jobs.second_of(clock_timestamp()) / 60,
         least(greatest((p_resource_usage ->> 'cost_estimate_usd')::numeric, 0), 1000000)
  from jobs.tb_service s
  where s.service = p_service and s.max_cost_per_hour is not null
    and jsonb_typeof(p_resource_usage -> 'cost_estimate_usd') = 'number';
$$;

-- Of successes; failures leave an attempt. Its name comes before that of tg_open_gate_behind_ended, which asks for the sum.
create function jobs.tg_cost_of_success() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  perform jobs.note_cost(old.service, j.resource_usage)
  from jobs.tb_job_run j where j.id = old.job_id and j.status = 'completed';
  return null;
end $$;
create trigger tg_cost_of_success after delete on jobs.tb_job_queue
  for each row when (old.state = 'executing' and old.gate is not null) execute function jobs.tg_cost_of_success();

create function jobs.tg_cost_of_failure() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  perform jobs.note_cost(lower(j.service_name), new.resource_usage)
  from jobs.tb_job_run j where j.id = new.job_id;
  return null;
end $$;
create trigger tg_cost_of_failure after insert on jobs.tb_job_attempt
  for each row when (new.resource_usage ? 'cost_estimate_usd') execute function jobs.tg_cost_of_failure();

create function jobs.cost_of_last_hour(p_service text, p_at timestamptz) returns numeric
language sql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
  select coalesce(sum(c.cost_usd), 0) from jobs.tb_service_cost c
  where c.service = p_service and c.minute >= jobs.second_of(p_at) / 60 - 60;
$$;

-- What was recorded while the clock was ahead is taken for just now, as starts are.
create function jobs.sum_up_costs() returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
  this_minute bigint := jobs.second_of(clock_timestamp()) / 60;
begin
  delete from jobs.tb_service_cost c where c.minute < this_minute - 60;
  with gone as (
    delete from jobs.tb_service_cost c where not c.is_sum returning c.service, c.minute, c.cost_usd
  )
  insert into jobs.tb_service_cost (service, minute, cost_usd, is_sum)
  select g.service, least(g.minute, this_minute), sum(g.cost_usd), true from gone g group by 1, 2;
  update jobs.tb_service_cost c set minute = this_minute where c.minute > this_minute;
end $$;

create or replace function jobs.count_permits(p_service jobs.tb_service, p_at timestamptz) returns integer
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  permits bigint := 1000000;
begin
  if p_service.rate_limit_per_minute is not null then
    permits := least(permits, p_service.rate_limit_per_minute
      - jobs.count_recent(p_service.second_buckets, p_service.second_counts, jobs.second_of(p_at)));
  end if;
  if p_service.max_invocations_per_hour is not null then
    permits := least(permits, p_service.max_invocations_per_hour
      - jobs.count_recent(p_service.minute_buckets, p_service.minute_counts, jobs.second_of(p_at) / 60));
  end if;
  if p_service.max_concurrent is not null and permits > 0 then
    permits := least(permits, p_service.max_concurrent - jobs.count_limited_running(p_service.service));
  end if;
  if p_service.max_cost_per_hour is not null and permits > 0
     and jobs.cost_of_last_hour(p_service.service, p_at) >= p_service.max_cost_per_hour then
    permits := 0;
  end if;
  return greatest(permits, 0);
end $$;

-- When enough of what was spent is an hour old; null while there is room, infinity when there never is any.
create function jobs.cost_falls_at(p_service jobs.tb_service, p_at timestamptz) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
  with recent as (
    select c.minute, sum(sum(c.cost_usd)) over (order by c.minute desc) as spent_since
    from jobs.tb_service_cost c
    where c.service = p_service.service and c.minute >= jobs.second_of(p_at) / 60 - 60
    group by c.minute
  )
  select case
    when p_service.max_cost_per_hour = 0 then 'infinity'::timestamptz
    else (select to_timestamp((max(r.minute) + 61) * 60) from recent r where r.spent_since >= p_service.max_cost_per_hour)
  end;
$$;

create or replace function jobs.closed_by(p_service jobs.tb_service, p_at timestamptz, out limit_name text, out reason text, out opens_at timestamptz)
returns setof record
language sql stable set search_path = pg_catalog, pg_temp as $$
  select 'max_concurrent', format('max_concurrent %s: %s running', p_service.max_concurrent, running), null::timestamptz
  from jobs.count_limited_running(p_service.service) running
  where running >= p_service.max_concurrent
  union all
  select 'rate_limit_per_minute', format('rate_limit_per_minute %s: used up', p_service.rate_limit_per_minute), free_at
  from jobs.next_permit_at(p_service.second_buckets, p_service.second_counts, p_service.rate_limit_per_minute, 1, p_at) free_at
  where p_service.rate_limit_per_minute is not null and free_at is not null
  union all
  select 'max_invocations_per_hour', format('max_invocations_per_hour %s: used up', p_service.max_invocations_per_hour), free_at
  from jobs.next_permit_at(p_service.minute_buckets, p_service.minute_counts, p_service.max_invocations_per_hour, 60, p_at) free_at
  where p_service.max_invocations_per_hour is not null and free_at is not null
  union all
  select 'max_cost_per_hour',
         format('max_cost_per_hour %s: an estimated %s spent', trim_scale(p_service.max_cost_per_hour),
                trim_scale(round(jobs.cost_of_last_hour(p_service.service, p_at), 6))),
         free_at
  from jobs.cost_falls_at(p_service, p_at) free_at
  where p_service.max_cost_per_hour is not null and free_at is not null;
$$;

-- Registration -------------------------------------------------------------------------------------------------------
create or replace function jobs.settle_services(p_services text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  -- Whoever comes second must see what the first has written.
  perform jobs.hold_mutex('services');
  with stated as (
    select w.service,
           (array_agg(w.execution_type order by w.stated_at desc, w.worker_id))[1] as execution_type,
           min(w.max_concurrent) as max_concurrent,
           min(w.rate_limit_per_minute) as rate_limit_per_minute,
           min(w.max_invocations_per_hour) as max_invocations_per_hour,
           min(w.max_cost_per_hour) as max_cost_per_hour
    from jobs.tb_worker_service w
    where w.service = any (p_services) and exists (select from jobs.tb_job_worker l where l.worker_id = w.worker_id)
    group by w.service
  )
  insert into jobs.tb_service as s
    (service, execution_type, max_concurrent, rate_limit_per_minute, max_invocations_per_hour, max_cost_per_hour)
  select t.service, t.execution_type, t.max_concurrent, t.rate_limit_per_minute, t.max_invocations_per_hour, t.max_cost_per_hour
  from stated t
  -- What stays as it is is not locked: a worker that starts, stops or is lost waits for no claim, and no claim for it.
  where not exists (
    select from jobs.tb_service k
    where k.service = t.service
      and (k.execution_type, k.max_concurrent, k.rate_limit_per_minute, k.max_invocations_per_hour, k.max_cost_per_hour)
        is not distinct from
          (t.execution_type, t.max_concurrent, t.rate_limit_per_minute, t.max_invocations_per_hour, t.max_cost_per_hour))
  order by t.service
  on conflict (service) do update
    set execution_type = excluded.execution_type,
        max_concurrent = excluded.max_concurrent,
        rate_limit_per_minute = excluded.rate_limit_per_minute,
        max_invocations_per_hour = excluded.max_invocations_per_hour,
        max_cost_per_hour = excluded.max_cost_per_hour;
end $$;

create function jobs.register_services(p_worker_id uuid, p_services text[], p_execution_types text[], p_max_concurrent integer[],
                                       p_rate_limit_per_minute integer[], p_max_invocations_per_hour integer[],
                                       p_max_cost_per_hour numeric[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
declare
  known_services text[] := array(select lower(g.service) from unnest(p_services) g (service));
  forgotten_services text[];
begin
  -- Rows of services stay, so that a worker that is taken over could fill the database with them.
  if cardinality(p_services) > 10000 then
    raise exception using
      errcode = 'JB012',
      message = format('TOO_MANY_SERVICES: worker %s registers %s services, at most 10000 are taken', p_worker_id, cardinality(p_services)),
      hint = 'Divide the registry among workers.';
  end if;
  perform from jobs.tb_job_worker w where w.worker_id = p_worker_id for key share;
  if not found then
    perform jobs.refuse_unknown_worker(p_worker_id);
  end if;
  insert into jobs.tb_worker_service as t
    (worker_id, service, execution_type, max_concurrent, rate_limit_per_minute, max_invocations_per_hour, max_cost_per_hour)
  select distinct on (lower(g.service))
         p_worker_id, lower(g.service), g.execution_type, g.max_concurrent, g.rate, g.invocations, g.cost
  from unnest(p_services, p_execution_types, p_max_concurrent, p_rate_limit_per_minute, p_max_invocations_per_hour, p_max_cost_per_hour)
    g (service, execution_type, max_concurrent, rate, invocations, cost)
  on conflict (worker_id, service) do update
    set execution_type = excluded.execution_type,
        max_concurrent = excluded.max_concurrent,
        rate_limit_per_minute = excluded.rate_limit_per_minute,
        max_invocations_per_hour = excluded.max_invocations_per_hour,
        max_cost_per_hour = excluded.max_cost_per_hour,
        stated_at = excluded.stated_at;
  with gone as (
    delete from jobs.tb_worker_service t
    where t.worker_id = p_worker_id and not exists (select from unnest(known_services) k (service) where k.service = t.service)
    returning t.service
  )
  select array_agg(g.service) into forgotten_services from gone g;
  -- In one go: two would lock rows of tb_service out of their order, and a claim that holds one of them dead.
  perform jobs.settle_services(known_services || forgotten_services);
  perform jobs.mark_limited_running();
end $$;

-- Of workers of the version before, whose services cost what they cost.
create or replace function jobs.register_services(p_worker_id uuid, p_services text[], p_execution_types text[], p_max_concurrent integer[],
                                                  p_rate_limit_per_minute integer[], p_max_invocations_per_hour integer[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  select jobs.register_services(p_worker_id, p_services, p_execution_types, p_max_concurrent, p_rate_limit_per_minute,
                                p_max_invocations_per_hour, '{}');
$$;

-- Locks --------------------------------------------------------------------------------------------------------------
-- An advisory lock is anybody's who may connect: whoever took ours kept every worker from registering, or from sweeping.
-- A row is locked by who may update it.
create table jobs.tb_mutex (name text primary key);
insert into jobs.tb_mutex values ('services'), ('gates'), ('rescue'), ('audit seal');

create function jobs.hold_mutex(p_name text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform from jobs.tb_mutex m where m.name = p_name for update;
end $$;

-- False when somebody else is at it.
create function jobs.try_mutex(p_name text) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform from jobs.tb_mutex m where m.name = p_name for update skip locked;
  return found;
end $$;

-- The same for what every worker does each second. Locking a row is a write, which it would wait for on disk even when
-- idle: all that is done under these locks is found and done again by the next one, should a crash forget it.
create function jobs.try_sweep(p_name text) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not jobs.try_mutex(p_name) then
    return false;
  end if;
  perform set_config('synchronous_commit', 'off', true);
  return true;
end $$;

-- The functions as they are, whatever changed them last, with the one call replaced.
do $$
declare
  change record;
  definition text;
  changed text;
begin
  for change in
    select * from (values
      ('jobs.rescue_jobs()', 'pg_try_advisory_xact_lock(hashtextextended(''ergon.rescue'', 0))', 'jobs.try_sweep(''rescue'')'),
      ('jobs.sweep_gates()', 'pg_try_advisory_xact_lock(hashtextextended(''ergon.gates'', 0))', 'jobs.try_sweep(''gates'')'),
      ('jobs.sweep_gates()', 'perform jobs.forget_future_starts();', E'perform jobs.forget_future_starts();\n    perform jobs.sum_up_costs();'),
      ('jobs.next_audit_seal(integer)', 'pg_try_advisory_xact_lock(hashtextextended(''ergon.audit.seal'', 0))', 'jobs.try_mutex(''audit seal'')'),
      ('jobs.add_audit_seal(bigint, bigint, xid8, xid8, timestamptz, text, bytea, bytea)',
       'pg_advisory_xact_lock(hashtextextended(''ergon.audit.seal'', 0))', 'jobs.hold_mutex(''audit seal'')')
    ) c (name, before, after)
  loop
    definition := pg_get_functiondef(change.name::regprocedure);
    changed := replace(definition, change.before, change.after);
    if changed = definition then
      raise exception '% does not call %', change.name, change.before;
    end if;
    execute changed;
  end loop;
end $$;

grant execute on function jobs.register_services(uuid, text[], text[], integer[], integer[], integer[], numeric[]) to ergon_worker;
grant select on jobs.tb_service_cost to ergon_api;

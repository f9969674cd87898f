-- What the registries of the workers say of services: their type, which names the lane of their jobs, and their limits,
-- which hold over the whole fleet. A row of tb_job_run never says a limit.
--
-- A job of a service with limits that cannot start now is gated, its gate is `limit:<service>`. Jobs that can start are
-- ready, so a claim looks at no others. The limits themselves are kept by the claim alone: it locks the rows of the
-- services it finds ready, always in the order of their names, counts, takes so many, and writes the starts down, all in
-- one transaction. Everything else (inserts, what ends an attempt, the sweep) moves jobs between gated and ready without
-- that lock: it may move one too many or too few, never start one, and the next claim or sweep puts it right.
--
-- Locks are taken in this order, and whatever is not listed is passed over when somebody holds it: worker row, the
-- registration lock, rows of tb_service by name. Nobody who holds a row of tb_service waits for a live or a wide row.

-- What each worker says; goes with the worker's row.
create table jobs.tb_worker_service (
  worker_id uuid not null,
  service text collate "C" not null,
  execution_type text not null,
  max_concurrent integer,
  rate_limit_per_minute integer,
  max_invocations_per_hour integer,
  stated_at timestamptz not null default clock_timestamp(),
  primary key (worker_id, service),
  constraint ck_worker_service_name check (octet_length(service) between 1 and 200),
  constraint ck_worker_service_execution_type check (execution_type collate "C" ~ '^[a-z][a-z0-9_-]{0,62}$'),
  constraint ck_worker_service_max_concurrent check (max_concurrent >= 0),
  constraint ck_worker_service_rate check (rate_limit_per_minute >= 0),
  constraint ck_worker_service_invocations check (max_invocations_per_hour >= 0)
);
create index ix_worker_service_service on jobs.tb_worker_service (service);

-- What holds, and what has started lately. The row stays when no worker speaks of the service any more, so that a
-- restart of the only worker opens no limit.
create table jobs.tb_service (
  service text collate "C" primary key,
  execution_type text not null,
  max_concurrent integer,
  rate_limit_per_minute integer,
  max_invocations_per_hour integer,
  is_limited boolean not null generated always as (
    max_concurrent is not null or rate_limit_per_minute is not null or max_invocations_per_hour is not null) stored,
  -- Starts by the second and by the minute of the epoch; see count_recent.
  second_buckets bigint[] not null default '{}',
  second_counts integer[] not null default '{}',
  minute_buckets bigint[] not null default '{}',
  minute_counts integer[] not null default '{}'
) with (fillfactor = 40);
-- Empty where no service has a limit: what a claim pays then is one look at it.
create index ix_service_limited on jobs.tb_service (service) where is_limited;

-- Ordered bytewise, so that the gates of one kind stand together.
alter table jobs.tb_job_queue alter column gate type text collate "C";
comment on column jobs.tb_job_queue.gate is 'gated: what the job waits for; executing: the limit that it counts against';
-- Both what waits behind a gate and what counts against it, so that every other job pays for one index it is not in.
create index ix_job_queue_gate on jobs.tb_job_queue (gate, state, lane, priority, seq) where gate is not null;

-- Counting -----------------------------------------------------------------------------------------------------------
-- Starts in the newest 61 buckets. Any 60 bucket widths on end touch 61 buckets at most, so who keeps this sum within a
-- limit keeps every such window within it. A start is counted in the bucket of a moment after it, and asked for in that
-- of a moment before the next, so this holds for started_at too; a clock that is set back makes it stricter, until the
-- sweep has taken what lies ahead of it for just now.
create function jobs.count_recent(p_buckets bigint[], p_counts integer[], p_bucket bigint) returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select coalesce(sum(b.started), 0) from unnest(p_buckets, p_counts) b (bucket, started) where b.bucket >= p_bucket - 60;
$$;

create function jobs.second_of(p_at timestamptz) returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select floor(extract(epoch from p_at))::bigint;
$$;

create function jobs.count_limited_running(p_service text) returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
  select count(*) from jobs.tb_job_queue q where q.gate = 'limit:' || p_service and q.state = 'executing';
$$;

-- How many jobs of the service may start now; counted, not kept, so nothing that ends a job can forget to give back.
create function jobs.count_permits(p_service jobs.tb_service, p_at timestamptz) returns integer
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
  return greatest(permits, 0);
end $$;

-- Notes starts, in a row that the caller has locked.
create function jobs.count_starts(p_service text, p_started integer) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  current_second bigint := jobs.second_of(clock_timestamp());
begin
  update jobs.tb_service s
  set (second_buckets, second_counts) = (
        select array_agg(b.bucket), array_agg(b.started)
        from (select u.bucket, sum(u.started)::integer as started
              from (select * from unnest(s.second_buckets, s.second_counts) union all select current_second, p_started) u (bucket, started)
              where u.bucket >= current_second - 60
              group by u.bucket order by u.bucket) b),
      (minute_buckets, minute_counts) = (
        select array_agg(b.bucket), array_agg(b.started)
        from (select u.bucket, sum(u.started)::integer as started
              from (select * from unnest(s.minute_buckets, s.minute_counts) union all select current_second / 60, p_started) u (bucket, started)
              where u.bucket >= current_second / 60 - 60
              group by u.bucket order by u.bucket) b)
  where s.service = p_service;
end $$;

-- Gates --------------------------------------------------------------------------------------------------------------
create function jobs.limit_gate(p_service text) returns text
language sql immutable as $$
  select 'limit:' || p_service;
$$;

-- The lanes of the jobs behind a gate: one index probe for each.
create function jobs.gated_lanes(p_gate text) returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
  with recursive step (lane) as (
    (select q.lane from jobs.tb_job_queue q where q.state = 'gated' and q.gate = p_gate order by q.lane limit 1)
    union all
    select s.lane
    from step t
    cross join lateral (
      select q.lane from jobs.tb_job_queue q
      where q.state = 'gated' and q.gate = p_gate and q.lane > t.lane
      order by q.lane limit 1
    ) s
  )
  select step.lane from step;
$$;

-- An application may name thousands of queues: only what somebody serves is worth an event's time, the rest is the sweep's.
create function jobs.served_lanes() returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(distinct l.lane), '{}') from jobs.tb_job_worker w cross join lateral unnest(w.lanes) l (lane);
$$;

-- Makes the soonest jobs behind a service's gate ready, on each of these lanes as many as could start now beside those that are
-- ready there, but no more than a claim or two will take: what is ready must go back when the limit is used up.
-- Returns how many.
create function jobs.open_gate(p_service text, p_lanes text[]) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  service_gate text := jobs.limit_gate(p_service);
  limits jobs.tb_service;
  gated_lane text;
  permits integer := 0;
  room integer;
  opened integer;
  opened_count integer := 0;
begin
  foreach gated_lane in array p_lanes loop
    continue when not exists (
      select from jobs.tb_job_queue q where q.state = 'gated' and q.gate = service_gate and q.lane = gated_lane);
    if limits is null then
      select * into limits from jobs.tb_service s where s.service = p_service;
      permits := case when limits.is_limited then least(jobs.count_permits(limits, clock_timestamp()), 100) end;
    end if;
    if permits is null then
      -- The limit is gone.
      room := 10000;
    else
      exit when permits = 0;
      room := permits - (
        select count(*) from (
          select from jobs.tb_job_queue q
          where q.state = 'ready' and q.lane = gated_lane and q.service = p_service limit permits) r);
    end if;
    continue when room <= 0;
    update jobs.tb_job_queue q
    set state = 'ready', gate = null
    where q.job_id = any (array(
      select g.job_id from jobs.tb_job_queue g
      where g.state = 'gated' and g.gate = service_gate and g.lane = gated_lane
      order by g.priority, g.seq limit room
      for update skip locked));
    get diagnostics opened = row_count;
    if opened > 0 then
      opened_count := opened_count + opened;
      perform jobs.ring_lane(gated_lane);
    end if;
  end loop;
  return opened_count;
end $$;

-- Moves what is ready behind the gate of a service that may start nothing now, so that the next claims find others at once.
create function jobs.close_gate(p_service text, p_lanes text[]) returns void
language sql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
  update jobs.tb_job_queue q
  set state = 'gated', gate = jobs.limit_gate(p_service)
  where q.job_id = any (array(
    select r.job_id
    from unnest(p_lanes) l (lane)
    cross join lateral (
      select c.job_id from jobs.tb_job_queue c
      where c.state = 'ready' and c.lane = l.lane and c.service = p_service
      order by c.priority, c.seq limit 1000
      for update skip locked
    ) r));
$$;

-- However a limited job ends (recorded, cancelled, deleted, lost), the next one may come; what is tried again or handed
-- back keeps its live row, and its functions do the same. The condition costs the others little; a trigger on updates
-- would cost every claim. Not where an application's own statement ended it, that is inside a trigger: its transaction may
-- be long, would keep the jobs it lets out from starting, and fails on them if it reads one snapshot. There the sweep does it.
create function jobs.tg_open_gate() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform jobs.open_gate(old.service, jobs.served_lanes());
  return null;
end $$;
create trigger tg_open_gate_behind_ended after delete on jobs.tb_job_queue
  for each row when (old.state = 'executing' and old.gate is not null and pg_trigger_depth() = 0)
  execute function jobs.tg_open_gate();

-- An application's gate would be opened as that of the service it names, and its jobs let out in place of the service's own.
create function jobs.tg_refuse_reserved_gate() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using
    errcode = 'JB011',
    message = format('GATE_RESERVED: the gate "%s" of job "%s" begins with "limit:"', left(new.gate, 200), left(new.identifier, 100)),
    hint = 'Gates of that name are those of the services'' limits; choose another name.';
end $$;
create trigger tg_3_refuse_reserved_gate before insert or update of gate on jobs.tb_job_run
  for each row when (starts_with(new.gate, 'limit:')) execute function jobs.tg_refuse_reserved_gate();

-- Registration -------------------------------------------------------------------------------------------------------
-- Of several workers the strictest word holds for each limit, and the newest for the type: a roll-out tightens at once,
-- and loosens when the last worker with the old registry has gone.
create function jobs.settle_services(p_services text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  -- Whoever comes second must see what the first has written.
  perform pg_advisory_xact_lock(hashtextextended('ergon.services', 0));
  with stated as (
    select w.service,
           (array_agg(w.execution_type order by w.stated_at desc, w.worker_id))[1] as execution_type,
           min(w.max_concurrent) as max_concurrent,
           min(w.rate_limit_per_minute) as rate_limit_per_minute,
           min(w.max_invocations_per_hour) as max_invocations_per_hour
    from jobs.tb_worker_service w
    where w.service = any (p_services) and exists (select from jobs.tb_job_worker l where l.worker_id = w.worker_id)
    group by w.service
  )
  insert into jobs.tb_service as s (service, execution_type, max_concurrent, rate_limit_per_minute, max_invocations_per_hour)
  select t.service, t.execution_type, t.max_concurrent, t.rate_limit_per_minute, t.max_invocations_per_hour
  from stated t
  -- What stays as it is is not locked: a worker that starts, stops or is lost waits for no claim, and no claim for it.
  where not exists (
    select from jobs.tb_service k
    where k.service = t.service
      and (k.execution_type, k.max_concurrent, k.rate_limit_per_minute, k.max_invocations_per_hour)
        is not distinct from (t.execution_type, t.max_concurrent, t.rate_limit_per_minute, t.max_invocations_per_hour))
  order by t.service
  on conflict (service) do update
    set execution_type = excluded.execution_type,
        max_concurrent = excluded.max_concurrent,
        rate_limit_per_minute = excluded.rate_limit_per_minute,
        max_invocations_per_hour = excluded.max_invocations_per_hour;
end $$;

-- No foreign key: each would cost a query of its own, and an emptied table of workers must not be in anybody's way.
create function jobs.tg_forget_worker_services() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  forgotten text[];
begin
  with gone as (
    delete from jobs.tb_worker_service s using old_rows o where s.worker_id = o.worker_id returning s.service
  )
  select array_agg(distinct g.service) into forgotten from gone g;
  if forgotten is not null then
    perform jobs.settle_services(forgotten);
  end if;
  return null;
end $$;
create trigger tg_forget_worker_services after delete on jobs.tb_job_worker
  referencing old table as old_rows for each statement execute function jobs.tg_forget_worker_services();

-- All services that a worker knows, with their limits; replaces what it said before. A worker says it before its first
-- claim, and before its first claim under another version of its registry.
create function jobs.register_services(p_worker_id uuid, p_services text[], p_execution_types text[], p_max_concurrent integer[],
                                       p_rate_limit_per_minute integer[], p_max_invocations_per_hour integer[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
declare
  known_services text[] := array(select lower(g.service) from unnest(p_services) g (service));
  forgotten_services text[];
begin
  perform from jobs.tb_job_worker w where w.worker_id = p_worker_id for key share;
  if not found then
    perform jobs.refuse_unknown_worker(p_worker_id);
  end if;
  insert into jobs.tb_worker_service as t (worker_id, service, execution_type, max_concurrent, rate_limit_per_minute, max_invocations_per_hour)
  select distinct on (lower(g.service)) p_worker_id, lower(g.service), g.execution_type, g.max_concurrent, g.rate, g.invocations
  from unnest(p_services, p_execution_types, p_max_concurrent, p_rate_limit_per_minute, p_max_invocations_per_hour)
    g (service, execution_type, max_concurrent, rate, invocations)
  on conflict (worker_id, service) do update
    set execution_type = excluded.execution_type,
        max_concurrent = excluded.max_concurrent,
        rate_limit_per_minute = excluded.rate_limit_per_minute,
        max_invocations_per_hour = excluded.max_invocations_per_hour,
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

-- Jobs that were claimed before their service had a limit count against it too.
create function jobs.mark_limited_running() returns void
language sql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
  update jobs.tb_job_queue q
  set gate = jobs.limit_gate(q.service)
  where q.job_id = any (array(
    select e.job_id from jobs.tb_job_queue e
    where e.state = 'executing' and e.gate is null
      and exists (select from jobs.tb_service s where s.is_limited and s.service = e.service)
    for update skip locked));
$$;

-- Claim --------------------------------------------------------------------------------------------------------------
-- Locks the limits of these services, and says how many of each may start now.
create function jobs.lock_limits(p_services text[], out services text[], out permits integer[])
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform from jobs.tb_service s where s.service = any (p_services) order by s.service for update;
  -- A statement of its own: it sees what those had started that held the lock before.
  select array_agg(s.service), array_agg(jobs.count_permits(s, clock_timestamp()))
  into services, permits
  from jobs.tb_service s where s.service = any (p_services);
end $$;

-- Writes down what a claim started of these services, whose limits it holds, and opens or closes their gates.
create function jobs.settle_limits(p_services text[], p_permits integer[], p_lanes text[], p_fence uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  limited record;
  started_count integer;
  served_lanes text[] := jobs.served_lanes();
begin
  for limited in select * from unnest(p_services, p_permits) g (service, permits) loop
    started_count := 0;
    if limited.permits > 0 then
      select count(*) into started_count
      from jobs.tb_job_queue q
      where q.gate = jobs.limit_gate(limited.service) and q.state = 'executing' and q.fence = p_fence;
    end if;
    if started_count > 0 then
      perform jobs.count_starts(limited.service, started_count);
    end if;
    if started_count = limited.permits then
      perform jobs.close_gate(limited.service, p_lanes);
    else
      perform jobs.open_gate(limited.service, served_lanes);
    end if;
  end loop;
end $$;

-- As take_ready_jobs, and of each limited service no more than its permits. Apart from it, because the ranking costs a
-- twentieth of a claim.
create function jobs.take_permitted_jobs(p_worker_id uuid, p_lanes text[], p_slots integer[], p_services text[], p_most integer, p_fence uuid,
                                     p_limited text[], p_permits integer[],
                                     out taken_ids uuid[], out all_may_run_again boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  with candidates as materialized (
    select c.job_id, c.service, c.priority, c.seq
    from unnest(p_lanes, p_slots) l (lane, slots)
    cross join lateral (
      select q.job_id, s.service, q.priority, q.seq
      from jobs.ready_services(array[l.lane]) s
      cross join lateral (
        select r.job_id, r.priority, r.seq
        from jobs.tb_job_queue r
        where r.state = 'ready' and r.lane = l.lane and r.service = s.service
        order by r.priority, r.seq
        limit least(l.slots, p_permits[array_position(p_limited, s.service)])
        for update skip locked
      ) q
      where s.service = any (p_services)
      order by q.priority, q.seq
      limit l.slots
    ) c
  ), soonest as materialized (
    select c.job_id
    from (select k.*, row_number() over (partition by k.service order by k.priority, k.seq) as place from candidates k) c
    -- A service may be on several lanes, and its permits are for all of them.
    where c.place <= coalesce(p_permits[array_position(p_limited, c.service)], c.place)
    order by c.priority, c.seq
    limit p_most
  ), taken as (
    update jobs.tb_job_queue q
    set state = 'executing',
        attempt = q.attempt + 1,
        worker_id = p_worker_id,
        fence = p_fence,
        gate = case when q.service = any (p_limited) then jobs.limit_gate(q.service) end,
        -- The grace is what a worker has to notice a time-out itself, end the job and record it.
        deadline = clock_timestamp() + make_interval(secs => q.timeout_seconds + 30)
    where q.job_id = any (array(select s.job_id from soonest s))
    returning q.job_id, q.retry_when_lost, q.priority, q.seq
  )
  select array_agg(t.job_id order by t.priority, t.seq), bool_and(t.retry_when_lost) into taken_ids, all_may_run_again
  from taken t;
end $$;

-- Takes ready jobs for a worker and says all that it needs to run them, soonest first.
create or replace function jobs.claim_jobs(p_worker_id uuid, p_lanes text[], p_slots integer[], p_services text[])
returns table (
  id uuid, fence uuid, attempt integer, max_attempts integer, lane text, service_name text, operation text, execution_type text,
  input_data text, runner_config text, tenant_id uuid, triggered_by uuid, correlation_id text, entity_type text, entity_pk text,
  timeout_seconds integer, deadline timestamptz, security_context text, traceparent text, execution_key text,
  created_at timestamptz, project_id text, document_id text, document_revision_id text, target_object_id text
)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set enable_nestloop = off
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  free_slots integer := jobs.count_free_slots(p_worker_id, p_lanes);
  claim_fence uuid := gen_random_uuid();
  claimable_services text[] := p_services;
  ready_services text[];
  limits record;
  claimed record;
  available_ids uuid[];
  started_count integer;
begin
  if free_slots <= 0 then
    return;
  end if;
  if exists (select from jobs.tb_service s where s.is_limited) then
    -- Before the limits are looked at, so that none is missed; what becomes ready after this look comes with the next claim.
    claimable_services := array(
      select g.service from unnest(p_services) g (service)
      where g.service in (select r.service from jobs.ready_services(p_lanes) r));
    select array_agg(s.service) into ready_services
    from jobs.tb_service s where s.is_limited and s.service = any (claimable_services);
  end if;
  if ready_services is null then
    claimed := jobs.take_ready_jobs(p_worker_id, p_lanes, p_slots, claimable_services, free_slots, claim_fence);
  else
    limits := jobs.lock_limits(ready_services);
    claimed := jobs.take_permitted_jobs(p_worker_id, p_lanes, p_slots, claimable_services, free_slots, claim_fence,
                                        limits.services, limits.permits);
  end if;
  if claimed.taken_ids is null then
    if ready_services is not null then
      perform jobs.settle_limits(limits.services, limits.permits, p_lanes, claim_fence);
    end if;
    return;
  end if;
  select coalesce(array_agg(available.id), '{}') into available_ids
  from (select j.id from jobs.tb_job_run j where j.id = any (claimed.taken_ids) for no key update skip locked) available;

  return query
  with started as (
    update jobs.tb_job_run j
    set status = 'running',
        attempts = q.attempt,
        started_at = clock_timestamp(),
        completed_at = null,
        output_data = null,
        resource_usage = null,
        error_message = null,
        failure = null,
        failure_category = null,
        failure_code = null,
        updated_at = clock_timestamp()
    from jobs.tb_job_queue q
    where j.id = any (available_ids) and q.job_id = any (available_ids) and q.job_id = j.id and j.status = 'pending'
    returning j.id, claim_fence, q.attempt, q.max_attempts, q.lane, j.service_name, j.operation, j.execution_type,
              j.input_data::text, j.runner_config::text, j.tenant_id, j.triggered_by, j.correlation_id, j.entity_type, j.entity_pk,
              q.timeout_seconds, q.deadline, j.security_context::text, j.traceparent, j.execution_key,
              j.created_at, j.project_id, j.document_id, j.document_revision_id, j.target_object_id
  )
  select s.* from started s order by array_position(claimed.taken_ids, s.id);
  get diagnostics started_count = row_count;

  if started_count < cardinality(claimed.taken_ids) then
    -- Locked by an application: those behind it come first, and it is looked at again in a second.
    update jobs.tb_job_queue q
    set state = 'scheduled', run_at = clock_timestamp() + interval '1 second', attempt = q.attempt - 1,
        worker_id = null, fence = null, deadline = null, gate = null
    where q.job_id = any (claimed.taken_ids) and q.job_id <> all (available_ids)
      and exists (select from jobs.tb_job_run j where j.id = any (claimed.taken_ids) and j.id = q.job_id and j.status = 'pending');
    -- Cancelled or deleted by an application between our look and its commit.
    delete from jobs.tb_job_queue q
    where q.job_id = any (claimed.taken_ids) and q.fence = claim_fence
      and not exists (select from jobs.tb_job_run j
                      where j.id = any (claimed.taken_ids) and j.id = q.job_id and j.status = 'running');
  end if;
  if ready_services is not null then
    perform jobs.settle_limits(limits.services, limits.permits, p_lanes, claim_fence);
  elsif claimed.all_may_run_again then
    -- A crash may then forget this claim and the job runs again, which is what it declares it may.
    perform set_config('synchronous_commit', 'off', true);
  end if;
end $$;

-- End ------------------------------------------------------------------------------------------------------------------
-- Ends an attempt whose live row the caller has locked. A null delay means that the failure is not to be retried.
-- 'late' means that an application cancelled or deleted the job meanwhile.
create or replace function jobs.end_attempt(p_live jobs.tb_job_queue, p_outcome text, p_failure jsonb, p_retry_delay interval,
                                 p_dead_letter_reason text, p_output jsonb, p_resource_usage jsonb, p_env_version text, p_logs jsonb)
returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  is_retried boolean := p_retry_delay is not null and p_live.attempt < p_live.max_attempts;
  next_run_at timestamptz := clock_timestamp() + p_retry_delay;
  first_start timestamptz;
begin
  select j.started_at into first_start from jobs.tb_job_run j where j.id = p_live.job_id;
  update jobs.tb_job_run j
  set status = case when is_retried then 'pending' else 'failed' end,
      run_at = case when is_retried then next_run_at else j.run_at end,
      started_at = case when is_retried then null else j.started_at end,
      completed_at = case when is_retried then null else clock_timestamp() end,
      error_message = left(p_failure ->> 'message', 65536),
      failure = p_failure,
      failure_category = p_failure ->> 'category',
      failure_code = p_failure ->> 'code',
      dead_letter_reason = case when is_retried then null
                             else coalesce(p_dead_letter_reason, case when p_retry_delay is null then 'NOT_RETRYABLE' else 'ATTEMPTS_EXHAUSTED' end) end,
      dead_lettered_at = case when is_retried then null else clock_timestamp() end,
      output_data = p_output,
      resource_usage = p_resource_usage,
      env_version = p_env_version,
      logs = p_logs,
      updated_at = clock_timestamp()
  where j.id = p_live.job_id and j.status = 'running';
  if not found then
    delete from jobs.tb_job_queue q where q.job_id = p_live.job_id;
    return 'late';
  end if;

  if is_retried then
    update jobs.tb_job_queue q
    set state = 'scheduled', run_at = next_run_at, worker_id = null, fence = null, deadline = null, gate = null
    where q.job_id = p_live.job_id;
    if p_live.gate is not null then
      perform jobs.open_gate(p_live.service, jobs.served_lanes());
    end if;
  else
    delete from jobs.tb_job_queue q where q.job_id = p_live.job_id;
  end if;
  insert into jobs.tb_job_attempt (job_id, attempt, outcome, worker_id, started_at, ended_at, failure, env_version, resource_usage)
  values (p_live.job_id, p_live.attempt, p_outcome, p_live.worker_id, first_start, clock_timestamp(), p_failure, p_env_version, p_resource_usage)
  on conflict (job_id, attempt) do nothing;
  return case when is_retried then 'retried' else 'failed' end;
end $$;

-- Hands jobs back as if they had never been claimed: a drain is no fault of theirs. They are ready at once and have the
-- permit that they give back; a start that was counted for a rate stays counted, since the program may have begun.
create or replace function jobs.release_jobs(p_job_ids uuid[], p_fences uuid[]) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
  live jobs.tb_job_queue;
  released_count integer := 0;
begin
  for live in
    select q.* from unnest(p_job_ids, p_fences) g (job_id, fence)
    join jobs.tb_job_queue q on q.job_id = g.job_id and q.fence = g.fence and q.job_id = any (p_job_ids)
    for update of q
  loop
    update jobs.tb_job_run j
    set status = 'pending', attempts = live.attempt - 1, started_at = null, updated_at = clock_timestamp()
    where j.id = live.job_id and j.status = 'running';
    if not found then
      delete from jobs.tb_job_queue q where q.job_id = live.job_id;
      continue;
    end if;
    update jobs.tb_job_queue q
    set state = 'ready', attempt = live.attempt - 1, worker_id = null, fence = null, deadline = null, gate = null
    where q.job_id = live.job_id;
    delete from jobs.tb_job_output o where o.job_id = live.job_id and o.attempt = live.attempt;
    perform jobs.ring_lane(live.lane);
    released_count := released_count + 1;
  end loop;
  return released_count;
end $$;

-- Enqueue ------------------------------------------------------------------------------------------------------------
-- Of the jobs that this transaction has just put behind a gate those that can start now, unless others wait there
-- already: the next claim, ended attempt or sweep takes them in turn. Touches no row of anybody else, which an
-- application's long transaction would keep from starting.
create function jobs.open_gate_for_own(p_service text, p_lanes text[], p_first_seq bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  service_gate text := jobs.limit_gate(p_service);
  limits jobs.tb_service;
  gated_lane text;
  permits integer;
  room integer;
begin
  select * into limits from jobs.tb_service s where s.service = p_service;
  permits := least(jobs.count_permits(limits, clock_timestamp()), 100);
  if permits = 0 then
    return;
  end if;
  foreach gated_lane in array p_lanes loop
    continue when exists (
      select from jobs.tb_job_queue q
      where q.state = 'gated' and q.gate = service_gate and q.lane = gated_lane and q.seq < p_first_seq);
    room := permits - (
      select count(*) from (
        select from jobs.tb_job_queue q
        where q.state = 'ready' and q.lane = gated_lane and q.service = p_service limit permits) r);
    continue when room <= 0;
    update jobs.tb_job_queue q
    set state = 'ready', gate = null
    where q.job_id = any (array(
      select g.job_id from jobs.tb_job_queue g
      where g.state = 'gated' and g.gate = service_gate and g.lane = gated_lane and g.seq >= p_first_seq
      order by g.priority, g.seq limit room
      for update skip locked));
    if found then
      perform jobs.ring_lane(gated_lane);
    end if;
  end loop;
end $$;

-- Gives pending rows of the wide table their live row, in the order given. The lane is that of the service's own type
-- where a worker has told it: an INSERT that names no type says 'http', the column's default.
create or replace function jobs.queue_jobs(p_job_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  woken_lanes text[];
  woken_lane text;
  limited_services text[];
  limited_lanes text[];
  limited_service text;
  first_seq bigint;
  free_ids uuid[] := jobs.clear_stale_live_rows(p_job_ids);
begin
  with queued as (
    insert into jobs.tb_job_queue (job_id, state, lane, service, tenant_id, priority, run_at, gate, attempt, max_attempts,
                                   timeout_seconds, retry_when_lost)
    select j.id,
           case when j.gate is not null then 'gated'
                when j.run_at > now() then 'scheduled'
                when s.is_limited then 'gated'
                else 'ready' end,
           jobs.lane_of(coalesce(s.execution_type, j.execution_type), j.queue),
           lower(j.service_name),
           j.tenant_id,
           j.priority,
           j.run_at,
           coalesce(j.gate, case when s.is_limited and j.run_at <= now() then jobs.limit_gate(s.service) end),
           -- Clamped, not refused: rows of existing functions carry whatever their authors wrote, and one number that
           -- cannot be counted on would fail the claim of every job beside it.
           least(greatest(coalesce(j.attempts, 0), 0), 1000000),
           greatest(coalesce(j.max_attempts, 3), 1),
           least(greatest(coalesce(j.timeout_seconds, 300), 1), 604800),
           coalesce(j.on_worker_lost = 'retry', coalesce(s.execution_type, j.execution_type) = 'sandbox')
    from unnest(free_ids) with ordinality g (id, position)
    -- The offset keeps the planner from scanning the table once and the array for each of its rows: 50 000 rows took minutes.
    cross join lateral (select * from jobs.tb_job_run r where r.id = g.id offset 0) j
    left join lateral (select * from jobs.tb_service t where t.service = lower(j.service_name) offset 0) s on true
    order by g.position
    on conflict (job_id) do nothing
    returning lane, service, state, gate, seq
  )
  select array_agg(distinct q.lane) filter (where q.state = 'ready'),
         array_agg(distinct q.service) filter (where q.state = 'gated' and q.gate = jobs.limit_gate(q.service)),
         array_agg(distinct q.lane) filter (where q.state = 'gated' and q.gate = jobs.limit_gate(q.service)),
         min(q.seq)
  into woken_lanes, limited_services, limited_lanes, first_seq
  from queued q;
  foreach woken_lane in array coalesce(woken_lanes, '{}') loop
    perform jobs.ring_lane(woken_lane);
  end loop;
  foreach limited_service in array coalesce(limited_services, '{}') loop
    perform jobs.open_gate_for_own(limited_service, limited_lanes, first_seq);
  end loop;
end $$;

-- Maintenance --------------------------------------------------------------------------------------------------------
-- Ready jobs on a lane of another type than their service's go to the lane of its type: they were inserted before a worker
-- told it, or a registry changed it.
create function jobs.correct_lanes() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  misplaced record;
  right_lane text;
begin
  for misplaced in
    with recursive known (lane) as (
      (select q.lane from jobs.tb_job_queue q where q.state = 'ready' order by q.lane limit 1)
      union all
      select n.lane
      from known k
      cross join lateral (
        select q.lane from jobs.tb_job_queue q where q.state = 'ready' and q.lane > k.lane order by q.lane limit 1
      ) n
    )
    select r.lane, r.service, s.execution_type
    from jobs.ready_services(array(select k.lane from known k)) r
    join jobs.tb_service s on s.service = r.service
    where split_part(r.lane, ':', 1) <> s.execution_type
  loop
    right_lane := misplaced.execution_type || substr(misplaced.lane, length(split_part(misplaced.lane, ':', 1)) + 1);
    update jobs.tb_job_queue q
    set lane = right_lane
    where q.job_id = any (array(
      select r.job_id from jobs.tb_job_queue r
      where r.state = 'ready' and r.lane = misplaced.lane and r.service = misplaced.service
      order by r.priority, r.seq limit 10000
      for update skip locked));
    perform jobs.ring_lane(right_lane);
  end loop;
end $$;

-- Starts that were counted while the clock was ahead would be remembered until it is there again, a year perhaps. All that
-- is known of them is that they are past: taken for just now, they are forgotten after their window.
create function jobs.forget_future_starts() returns void
language sql set search_path = pg_catalog, pg_temp as $$
  with ahead as materialized (
    select s.service, jobs.second_of(clock_timestamp()) as second
    from jobs.tb_service s
    where s.is_limited
      and jobs.second_of(clock_timestamp()) < greatest((select max(b) from unnest(s.second_buckets) b),
                                                      (select max(b) * 60 from unnest(s.minute_buckets) b))
    for update skip locked
  )
  update jobs.tb_service s
  set second_buckets = array(select least(u.b, a.second) from unnest(s.second_buckets) with ordinality u (b, place) order by u.place),
      minute_buckets = array(select least(u.b, a.second / 60) from unnest(s.minute_buckets) with ordinality u (b, place) order by u.place)
  from ahead a
  where s.service = a.service;
$$;

-- What no event did: opens gates as time passes and as limits change, and finds what raced with a registration.
create function jobs.sweep_gates() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  swept_gate text;
begin
  -- One sweeper at a time; a second one has nothing to add.
  if not pg_try_advisory_xact_lock(hashtextextended('ergon.gates', 0)) then
    return;
  end if;
  if exists (select from jobs.tb_service s where s.is_limited) then
    perform jobs.mark_limited_running();
    perform jobs.forget_future_starts();
  end if;
  perform jobs.correct_lanes();
  for swept_gate in
    with recursive step (gate) as (
      (select q.gate from jobs.tb_job_queue q
       where q.state = 'gated' and q.gate >= 'limit:' and q.gate < 'limit;' order by q.gate limit 1)
      union all
      select s.gate
      from step t
      cross join lateral (
        select q.gate from jobs.tb_job_queue q
        where q.state = 'gated' and q.gate > t.gate and q.gate < 'limit;' order by q.gate limit 1
      ) s
    )
    select step.gate from step
  loop
    perform jobs.open_gate(substr(swept_gate, length('limit:') + 1), array(select jobs.gated_lanes(swept_gate)));
  end loop;
end $$;

-- Returns how many jobs became due.
create or replace function jobs.promote_jobs() returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  promoted_lanes text[];
  promoted_lane text;
begin
  perform jobs.requeue_jobs();
  with due as materialized (
    select q.job_id, q.service from jobs.tb_job_queue q
    where q.state = 'scheduled' and q.run_at <= clock_timestamp()
    order by q.run_at limit 1000
    for update skip locked
  ), promoted as (
    update jobs.tb_job_queue q
    set state = case when d.is_limited then 'gated' else 'ready' end,
        gate = case when d.is_limited then jobs.limit_gate(d.service) end
    from (select due.job_id, due.service, (select s.is_limited from jobs.tb_service s where s.service = due.service) as is_limited
          from due) d
    where q.job_id = d.job_id
    returning q.lane
  )
  select array_agg(p.lane) into promoted_lanes from promoted p;
  for promoted_lane in select distinct unnest(promoted_lanes) loop
    perform jobs.ring_lane(promoted_lane);
  end loop;
  perform jobs.sweep_gates();
  return coalesce(cardinality(promoted_lanes), 0);
end $$;

-- Why jobs wait ------------------------------------------------------------------------------------------------------
-- When a limit that counts buckets lets the next one start; null while it does now, infinity when it never does.
create function jobs.next_permit_at(p_buckets bigint[], p_counts integer[], p_limit integer, p_width_seconds integer, p_at timestamptz)
returns timestamptz
language sql immutable set search_path = pg_catalog, pg_temp as $$
  with recent as (
    select b.bucket, sum(b.started) over (order by b.bucket desc) as started_since
    from unnest(p_buckets, p_counts) b (bucket, started)
    where b.bucket >= jobs.second_of(p_at) / p_width_seconds - 60
  )
  select case
    when p_limit = 0 then 'infinity'::timestamptz
    -- The newest bucket that must be forgotten.
    else (select to_timestamp((max(r.bucket) + 61) * p_width_seconds) from recent r where r.started_since >= p_limit)
  end;
$$;

-- What keeps jobs of the service from starting now and until when, as far as that is known; no row when nothing does.
create function jobs.closed_by(p_service jobs.tb_service, p_at timestamptz, out limit_name text, out reason text, out opens_at timestamptz)
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
  where p_service.max_invocations_per_hour is not null and free_at is not null;
$$;

-- Names of services and numbers of their limits: nothing of any job, so that every reader of the views may ask.
create function jobs.closed_services() returns table (service text, gated_by text, gated_until timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select s.service, string_agg(c.reason, '; '), max(c.opens_at)
  from jobs.tb_service s
  cross join lateral jobs.closed_by(s, clock_timestamp()) c
  where s.is_limited
  group by s.service;
$$;

create or replace view jobs.v_job_queue_health with (security_invoker = true) as
select j.service_name, j.operation,
       count(*) filter (where j.status = 'pending') as pending_jobs,
       count(*) filter (where j.status = 'running') as running_jobs,
       count(*) filter (where (j.status = 'pending' and j.failure is not null)
                          or (j.status = 'failed' and j.dead_letter_reason is null and j.attempts < j.max_attempts)) as retryable_failures,
       count(*) filter (where j.status = 'failed' and (j.dead_letter_reason is not null or j.attempts >= j.max_attempts)) as permanent_failures,
       avg(extract(epoch from now() - j.created_at)) filter (where j.status = 'pending')::double precision as avg_queue_age_sec,
       max(extract(epoch from now() - j.created_at)) filter (where j.status = 'pending')::double precision as max_queue_age_sec,
       -- Of pending jobs alone: what has none waits for nothing.
       max(c.gated_by) filter (where j.status = 'pending') as gated_by,
       max(c.gated_until) filter (where j.status = 'pending') as gated_until
from jobs.tb_job_run j
left join jobs.closed_services() c on c.service = lower(j.service_name)
where j.status in ('pending', 'running')
   or (j.status = 'failed' and coalesce(j.completed_at, j.updated_at, j.created_at) > now() - interval '1 hour')
group by j.service_name, j.operation;

-- Why one job waits: its state in the live queue, the gate it stands behind, and what would let it start. No row for a job
-- that does not wait.
create function jobs.explain_wait(p_job_id uuid)
returns table (state text, lane text, gate text, reason text, waits_until timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select q.state, q.lane, case when q.state = 'gated' then q.gate end,
         case
           when q.state = 'scheduled' then 'its time has not come'
           when q.state = 'gated' and q.gate <> jobs.limit_gate(q.service) then format('the gate %s is closed', q.gate)
           when closed.reason is not null then closed.reason
           when q.state = 'gated' then 'others of its service come first'
           when not exists (select from jobs.tb_job_worker w where not w.draining and q.lane = any (w.lanes))
             then format('no worker serves the lane %s', q.lane)
           when not exists (select from jobs.tb_worker_service k where k.service = q.service)
             then format('no worker knows the service %s', q.service)
           else 'a worker with a free slot'
         end,
         case when q.state = 'scheduled' then q.run_at else closed.opens_at end
  from jobs.tb_job_queue q
  left join lateral (
    select string_agg(c.reason, '; ') as reason, max(c.opens_at) as opens_at
    from jobs.tb_service s
    cross join lateral jobs.closed_by(s, clock_timestamp()) c
    where s.service = q.service and s.is_limited
  ) closed on true
  where q.job_id = p_job_id and q.state <> 'executing'
    and exists (select from jobs.tb_job_run j where j.id = p_job_id and j.status = 'pending');
$$;

grant execute on function jobs.register_services(uuid, text[], text[], integer[], integer[], integer[]) to ergon_worker;
grant select on jobs.tb_service, jobs.tb_worker_service to ergon_api;
grant execute on function jobs.explain_wait(uuid) to ergon_api;
grant execute on function jobs.closed_services() to ergon_api, ergon_enqueue;

-- A container engine outlives the workers that use it, and several databases' workers may share one. Whoever finds a
-- container asks the database that it is labelled with whether its attempt still runs; nobody else can tell.

-- Names this database of this server, and no copy of it: a dump that is restored elsewhere is another one.
create function jobs.database_identity() returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select left(encode(sha256(convert_to(format('%s/%s', c.system_identifier, d.oid), 'UTF8')), 'hex'), 32)
  from pg_control_system() c, pg_database d
  where d.datname = current_database();
$$;

-- Of these jobs those that some worker holds, each with the attempt that it is at.
create function jobs.live_attempts(p_job_ids uuid[]) returns table (job_id uuid, attempt integer)
language sql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
  select q.job_id, q.attempt from jobs.tb_job_queue q where q.job_id = any (p_job_ids) and q.state = 'executing';
$$;

grant execute on function jobs.database_identity(), jobs.live_attempts(uuid[]) to ergon_worker;

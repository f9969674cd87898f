-- Existing dashboards read these columns. Each shows its reader only rows that the reader may see.
create view jobs.v_execution_performance_by_type with (security_invoker = true) as
select execution_type, service_name, operation,
       count(*) as total_jobs,
       count(*) filter (where status = 'completed') as successful_jobs,
       count(*) filter (where status = 'failed') as failed_jobs,
       avg(extract(epoch from completed_at - started_at))::double precision as avg_duration_sec,
       percentile_cont(0.95) within group (order by extract(epoch from completed_at - started_at)::double precision) as p95_duration_sec,
       percentile_cont(0.99) within group (order by extract(epoch from completed_at - started_at)::double precision) as p99_duration_sec
from jobs.tb_job_run
where created_at > now() - interval '7 days'
group by execution_type, service_name, operation;

-- A path and not a cast: one odd value of an old row would take the whole view down.
create view jobs.v_resource_usage_by_runner with (security_invoker = true) as
select execution_type, service_name, operation,
       count(*) as total_jobs,
       avg(jsonb_path_query_first(resource_usage, '$.cpu_usage_percent.double()', '{}', true)::double precision) as avg_cpu_percent,
       avg(jsonb_path_query_first(resource_usage, '$.memory_mb.double()', '{}', true)::double precision) as avg_memory_mb,
       avg(jsonb_path_query_first(resource_usage, '$.duration_seconds.double()', '{}', true)::double precision) as avg_duration_sec,
       max(jsonb_path_query_first(resource_usage, '$.peak_memory_mb.double()', '{}', true)::double precision) as max_memory_mb
from jobs.tb_job_run
where created_at > now() - interval '24 hours' and resource_usage is not null
group by execution_type, service_name, operation;

create view jobs.v_runner_failure_patterns with (security_invoker = true) as
select execution_type, service_name, operation,
       count(*) as failure_count,
       array_agg(distinct coalesce(failure_category || '/' || failure_code, left(error_message, 100), 'unknown')) as error_types,
       avg(attempts)::double precision as avg_attempts_before_failure,
       max(coalesce(completed_at, updated_at)) as last_failure
from jobs.tb_job_run
where status = 'failed' and created_at > now() - interval '24 hours'
group by execution_type, service_name, operation;

create view jobs.v_job_stats with (security_invoker = true) as
select service_name, operation, status,
       count(*) as total_jobs,
       avg(extract(epoch from completed_at - started_at))::double precision as avg_duration_sec,
       percentile_cont(0.95) within group (order by extract(epoch from completed_at - started_at)::double precision) as p95_duration_sec
from jobs.tb_job_run
group by service_name, operation, status;

create view jobs.v_failing_services with (security_invoker = true) as
select service_name, operation,
       count(*) as failure_count,
       max(coalesce(completed_at, updated_at)) as last_failure,
       (array_agg(left(error_message, 500) order by coalesce(completed_at, updated_at) desc)
         filter (where error_message is not null))[1:5] as recent_errors
from jobs.tb_job_run
where status = 'failed' and coalesce(completed_at, updated_at, created_at) > now() - interval '1 hour'
group by service_name, operation;

-- The window bounds the failures only: a job that waits for more than an hour is what this view is for.
create view jobs.v_job_queue_health with (security_invoker = true) as
select service_name, operation,
       count(*) filter (where status = 'pending') as pending_jobs,
       count(*) filter (where status = 'running') as running_jobs,
       count(*) filter (where (status = 'pending' and failure is not null)
                          or (status = 'failed' and dead_letter_reason is null and attempts < max_attempts)) as retryable_failures,
       count(*) filter (where status = 'failed' and (dead_letter_reason is not null or attempts >= max_attempts)) as permanent_failures,
       avg(extract(epoch from now() - created_at)) filter (where status = 'pending')::double precision as avg_queue_age_sec,
       max(extract(epoch from now() - created_at)) filter (where status = 'pending')::double precision as max_queue_age_sec
from jobs.tb_job_run
where status in ('pending', 'running')
   or (status = 'failed' and coalesce(completed_at, updated_at, created_at) > now() - interval '1 hour')
group by service_name, operation;

create view jobs.v_job_retry_patterns with (security_invoker = true) as
select service_name, operation, attempts,
       count(*) as jobs_at_attempt,
       avg(extract(epoch from completed_at - started_at))::double precision as avg_duration_at_attempt,
       count(*) filter (where status = 'completed') as successes_at_attempt,
       count(*) filter (where status = 'failed') as failures_at_attempt
from jobs.tb_job_run
where created_at > now() - interval '24 hours'
group by service_name, operation, attempts;

create view jobs.v_service_reliability with (security_invoker = true) as
select service_name, operation,
       count(*) as total_jobs,
       count(*) filter (where status = 'completed') as successful_jobs,
       count(*) filter (where status = 'failed') as failed_jobs,
       (100.0 * count(*) filter (where status = 'completed')
         / nullif(count(*) filter (where status in ('completed', 'failed')), 0))::double precision as success_rate_percent,
       avg(attempts) filter (where status = 'completed')::double precision as avg_attempts_for_success,
       max(created_at) as last_job_at
from jobs.tb_job_run
where created_at > now() - interval '7 days'
group by service_name, operation;

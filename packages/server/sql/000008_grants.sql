grant usage on schema jobs to ergon_worker, ergon_api, ergon_enqueue, ergon_callback;

-- An application: rows of the wide table, the helper functions, the dashboards.
grant select, insert, update, delete on jobs.tb_job_run to ergon_enqueue;
grant execute on function jobs.mark_job_started(uuid), jobs.complete_job_successfully(uuid, jsonb), jobs.fail_job(uuid, text)
  to ergon_enqueue;

-- The API: reads what it lists and changes state by functions.
grant select on jobs.tb_job_run, jobs.tb_job_queue, jobs.tb_job_worker, jobs.tb_job_attempt, jobs.tb_job_output, jobs.tb_artifact,
  jobs.tb_late_result, jobs.tb_schema_migration to ergon_api;
grant execute on function jobs.register_dataset(uuid, text, text, text, bigint, text) to ergon_api;

grant select on jobs.v_execution_performance_by_type, jobs.v_resource_usage_by_runner, jobs.v_runner_failure_patterns, jobs.v_job_stats,
  jobs.v_failing_services, jobs.v_job_queue_health, jobs.v_job_retry_patterns, jobs.v_service_reliability to ergon_api, ergon_enqueue;
grant execute on function
  jobs.enqueue_job(text, text, jsonb, text, uuid, text, text, jsonb, jsonb, integer, integer, uuid, uuid, text, text, text, smallint,
                   timestamptz, text, text, text, text, text),
  jobs.cancel_job(uuid), jobs.retry_job(uuid)
  to ergon_api, ergon_enqueue;

-- The worker parses hostile bytes: it has functions, and no right to any table.
grant execute on function
  jobs.register_worker(uuid, text, integer, text[], integer, text, integer), jobs.heartbeat(uuid), jobs.drain_worker(uuid),
  jobs.deregister_worker(uuid), jobs.lane_doorbell_key(text),
  jobs.claim_jobs(uuid, text[], integer[], text[]), jobs.append_output(uuid, uuid, text, bigint, bytea),
  jobs.register_artifacts(uuid, uuid, text), jobs.resolve_datasets(uuid, uuid, text[]),
  jobs.complete_jobs(uuid[], uuid[], text[], text[], text[], text[], text[], text[], text[]),
  jobs.record_failure(uuid, uuid, text, bigint, text, text, text, text, text, text, text, text),
  jobs.release_jobs(uuid[], uuid[]), jobs.abandon_jobs(uuid[], uuid[]), jobs.rescue_jobs(), jobs.promote_jobs()
  to ergon_worker;

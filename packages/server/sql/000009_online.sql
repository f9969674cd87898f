-- ergon: online. Each statement commits by itself and none holds a lock that writers wait for; every one can be repeated.

-- ergon: repeat until nothing changes
update jobs.tb_job_run set execution_type = lower(execution_type)
where id in (select id from jobs.tb_job_run where execution_type <> lower(execution_type) limit 5000);

alter table jobs.tb_job_run validate constraint ck_job_run_status;
alter table jobs.tb_job_run validate constraint ck_job_run_execution_type;
alter table jobs.tb_job_run validate constraint ck_job_run_queue;
alter table jobs.tb_job_run validate constraint ck_job_run_on_worker_lost;
alter table jobs.tb_job_run validate constraint ck_job_run_failure_category;
alter table jobs.tb_job_run validate constraint ck_job_run_failure_is_whole;
alter table jobs.tb_job_run validate constraint ck_job_run_running_or_completed_has_no_failure;
alter table jobs.tb_job_run validate constraint ck_job_run_dead_letter_is_failed;

-- Only columns that never change: an index on the status would end HOT updates.
create index concurrently if not exists ix_job_run_tenant_created on jobs.tb_job_run (tenant_id, created_at desc);
create index concurrently if not exists ix_job_run_created on jobs.tb_job_run using brin (created_at);
create index concurrently if not exists ix_job_run_idempotency on jobs.tb_job_run (tenant_id, idempotency_key) where idempotency_key is not null;
create index concurrently if not exists ix_job_run_execution_key on jobs.tb_job_run (tenant_id, execution_key) where execution_key is not null;
create index concurrently if not exists ix_job_run_correlation on jobs.tb_job_run (correlation_id) where correlation_id is not null;
create index concurrently if not exists ix_job_run_entity on jobs.tb_job_run (entity_type, entity_pk) where entity_pk is not null;
create index concurrently if not exists ix_job_run_project on jobs.tb_job_run (project_id) where project_id is not null;
create index concurrently if not exists ix_job_run_document on jobs.tb_job_run (document_id, document_revision_id) where document_id is not null;
create index concurrently if not exists ix_job_run_target_object on jobs.tb_job_run (target_object_id) where target_object_id is not null;

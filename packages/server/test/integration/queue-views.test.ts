import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { insertJob } from './queue-fixture.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())

const columns: Readonly<Record<string, string>> = {
  v_execution_performance_by_type:
    'execution_type, service_name, operation, total_jobs, successful_jobs, failed_jobs, avg_duration_sec, p95_duration_sec, p99_duration_sec',
  v_resource_usage_by_runner:
    'execution_type, service_name, operation, total_jobs, avg_cpu_percent, avg_memory_mb, avg_duration_sec, max_memory_mb',
  v_runner_failure_patterns:
    'execution_type, service_name, operation, failure_count, error_types, avg_attempts_before_failure, last_failure',
  v_job_stats: 'service_name, operation, status, total_jobs, avg_duration_sec, p95_duration_sec',
  v_failing_services: 'service_name, operation, failure_count, last_failure, recent_errors',
  v_job_queue_health:
    'service_name, operation, pending_jobs, running_jobs, retryable_failures, permanent_failures, avg_queue_age_sec, max_queue_age_sec, gated_by, gated_until',
  v_job_retry_patterns:
    'service_name, operation, attempts, jobs_at_attempt, avg_duration_at_attempt, successes_at_attempt, failures_at_attempt',
  v_service_reliability:
    'service_name, operation, total_jobs, successful_jobs, failed_jobs, success_rate_percent, avg_attempts_for_success, last_job_at',
}

it.each(Object.entries(columns))('%s has exactly the columns that dashboards read', async (view, expected) => {
  const { rows } = await db.admin.query(
    `select string_agg(attname, ', ' order by attnum) as columns from pg_attribute where attrelid = $1::regclass and attnum > 0`,
    [`jobs.${view}`],
  )
  expect(rows).toEqual([{ columns: expected }])
})

it('count what happened in their windows', async () => {
  const now = Date.now()
  const ago = (hours: number) => new Date(now - hours * 3_600_000)
  const app = db.as('ergon_enqueue')
  const done = {
    status: 'completed',
    attempts: 1,
    started_at: ago(0.5),
    completed_at: new Date(ago(0.5).getTime() + 4_000),
  }
  await insertJob(app, {
    ...done,
    resource_usage: { cpu_usage_percent: 50, memory_mb: 10, peak_memory_mb: 20, duration_seconds: 4 },
  })
  await insertJob(app, { ...done, resource_usage: { memory_mb: 'lots' } })
  await insertJob(app, { ...done, created_at: ago(8 * 24) })
  await insertJob(app, { status: 'failed', attempts: 3, error_message: 'boom', completed_at: ago(0.1) })
  await insertJob(app, {
    status: 'failed',
    attempts: 1,
    error_message: 'old boom',
    created_at: ago(30),
    completed_at: ago(29),
  })
  await insertJob(app, { created_at: ago(2) })
  const read = async (view: string) => (await db.as('ergon_enqueue').query(`select * from jobs.${view}`)).rows

  expect(await read('v_execution_performance_by_type')).toMatchObject([
    { total_jobs: '5', successful_jobs: '2', failed_jobs: '2', avg_duration_sec: 4, p95_duration_sec: 4 },
  ])
  expect(await read('v_resource_usage_by_runner')).toMatchObject([
    { total_jobs: '2', avg_cpu_percent: 50, avg_memory_mb: 10, max_memory_mb: 20 },
  ])
  expect(await read('v_runner_failure_patterns')).toMatchObject([
    { failure_count: '1', error_types: ['boom'], avg_attempts_before_failure: 3 },
  ])
  expect(await read('v_failing_services')).toMatchObject([{ failure_count: '1', recent_errors: ['boom'] }])
  // The job that waits for two hours is the one that this view is for.
  expect(await read('v_job_queue_health')).toMatchObject([
    { pending_jobs: '1', running_jobs: '0', retryable_failures: '0', permanent_failures: '1' },
  ])
  expect(await read('v_service_reliability')).toMatchObject([
    { total_jobs: '5', success_rate_percent: 50, avg_attempts_for_success: 1 },
  ])
  expect(await read('v_job_retry_patterns')).toHaveLength(3)
  expect(await read('v_job_stats')).toHaveLength(3)
})

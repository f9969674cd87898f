import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdirSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LocalStack } from '../../src/app/local-stack.ts'
import type { HomePaths } from '../../src/config/home-paths.ts'
import { loadSettings } from '../../src/config/load-settings.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { ErgonHome } from './ergon.ts'
import { findProcesses, leftoversAfter } from './leftovers.ts'

let home: ErgonHome
beforeEach(() => {
  home = new ErgonHome()
})
afterEach(async () => {
  await home.remove()
  expect(await leftoversAfter(home, 10_000)).toEqual([])
})

test('a stack that a command started lives as long as the command', async () => {
  const { result } = await home.runProgram('import time\ntime.sleep(24)\nprint("done")\n', '--timeout', '60')
  expect(result).toMatchObject({ status: 'SUCCEEDED', outputs: { stdout: 'done\n' } })
})

test.each([
  [
    'the database',
    'database',
    'belongs to uid 0',
    ({ home: folder }: HomePaths) => blockWithFile(`${folder}/postgres`),
  ],
  ['sandboxd', 'sandboxd', 'Is a directory', ({ sandboxdSocket }: HomePaths) => blockWithFolder(sandboxdSocket)],
  ['the worker', 'worker', 'permission denied', ({ spool }: HomePaths) => blockWithRights(spool)],
] as const)('%s that could not start is tried again at the next use', async (_name, need, words, block) => {
  const { settings } = loadSettings(home.env)
  const stack = new LocalStack({ settings, paths: home.paths, env: home.env, logger: createLogger('test', 'silent') })
  await stack.prepare()
  const unblock = block(home.paths)
  await expect(stack.ensure(need)).rejects.toThrow(words)
  unblock()
  await stack.ensure(need)
  await stack.ensure('worker')
  await stack.stop()
})

function blockWithFile(file: string): () => void {
  writeFileSync(file, '')
  return () => rmSync(file)
}

function blockWithFolder(folder: string): () => void {
  mkdirSync(folder)
  return () => rmdirSync(folder)
}

/** Its owner can no longer enter it, whose capabilities are gone; the folder is root's then. */
function blockWithRights(folder: string): () => void {
  const { uid, gid } = statSync(folder)
  chownSync(folder, 0, 0)
  return () => chownSync(folder, uid, gid)
}

/** Connects whoever comes, and ends before it has answered, or even accepted, anybody. */
const ENDING_STACK = `
  const server = require('net').createServer(() => {}).listen(process.argv[1], () => {
    console.log('listening')
    setTimeout(() => {
      for (const until = Date.now() + 2000; Date.now() < until; );
      process.exit()
    }, 50)
  })`

test('a command that meets a stack at its end starts another', async () => {
  const { stackSocket, run } = home.paths
  mkdirSync(run)
  const ending = spawn(process.execPath, ['-e', ENDING_STACK, stackSocket], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(ending.stdout, 'data')
  expect(await home.run('jobs', 'list', '--json')).toEqual({ code: 0, stdout: '[]\n', stderr: '' })
})

/** Asks for the database and is killed before it reads the answer. */
const KILLED_CLIENT = `
  const socket = require('net').connect(process.argv[1], () => {
    socket.pause()
    socket.write('{"need":"database","databaseUrl":null}\\n')
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 500)
  })`

test('a command that is killed before it reads the answer takes nobody along', async () => {
  const { child } = await home.start('dev')
  await once(spawn(process.execPath, ['-e', KILLED_CLIENT, home.paths.stackSocket]), 'exit')
  expect(await home.run('jobs', 'list', '--json')).toEqual({ code: 0, stdout: '[]\n', stderr: '' })
  expect(child.exitCode).toBeNull()
})

test('a command says so when the stack that it starts is killed at once', async () => {
  const command = home.run('jobs', 'list', '--json')
  await expect.poll(() => findProcesses(home.folder, /stack-process/), { interval: 5, timeout: 30_000 }).toHaveLength(1)
  for (const { pid } of findProcesses(home.folder, /stack-process/)) process.kill(pid, 'SIGKILL')
  const { code, stdout } = await command
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'PROCESS_FAILED' } })
  expect(code).toBe(3)
})

test('a worker whose parent ended before it could ask to die with it does not stay', async () => {
  const config = {
    ...{ name: 'orphan', version: '0', home: home.folder, environments: home.env['ERGON_ENVIRONMENTS'] },
    ...{ databaseUrl: 'postgresql://nobody@localhost:1/none', slots: 1, sandboxSlots: 1, lanes: ['sandbox'] },
    ...{ drainMs: 0, logLevel: 'info', sandboxRuntime: 'crun', executorPolicy: null, registry: null, warmUp: false },
    ...{ dockerEngine: null, signingKey: null, callbackDatabaseUrl: null },
    parentPid: process.ppid,
  }
  const entry = path.join(import.meta.dirname, '../../dist/cli/worker-process.js')
  const orphan = spawn(process.execPath, [entry])
  let said = ''
  orphan.stderr.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')))
  orphan.stdin.end(JSON.stringify(config))
  await once(orphan, 'close')
  expect(said).toContain('the process that started this worker is gone')
})

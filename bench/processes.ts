/** Servers as processes of their own: started, waited for, measured, ended. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { call } from './programs.ts';
import type { Endpoint } from './served.ts';

const START_MS = 20_000;
const CLOCK_TICKS_PER_SECOND = Number(call({ argv: ['getconf', 'CLK_TCK'] }));

export function rawFile(folder: string, name: string, sizeBytes: number): string {
  const file = path.join(folder, name);
  call({ argv: ['truncate', '-s', String(sizeBytes), file] });
  return file;
}

/** Starts a server that makes its unix socket when it serves. */
export function program(
  name: string,
  socket: string,
  uri: string,
  [command = '', ...args]: readonly string[],
): Endpoint {
  const child = spawn(command, args, { stdio: 'ignore' });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${command} does not start`);
  waitFor(socket, command);
  return {
    name,
    uri,
    cpuSeconds: () => cpuSecondsOf(pid),
    [Symbol.dispose]: () => {
      end(child);
    },
  };
}

export function end(child: ChildProcess): void {
  child.kill('SIGTERM');
  child.unref();
}

/** @throws Error when the file is not there in time */
export function waitFor(file: string, command: string): void {
  const deadlineMs = performance.now() + START_MS;
  const cell = new Int32Array(new SharedArrayBuffer(4));
  while (!existsSync(file)) {
    if (performance.now() > deadlineMs) throw new Error(`${command} does not serve`);
    Atomics.wait(cell, 0, 0, 50);
  }
}

/** Time in user and kernel mode of a process, all threads, from /proc. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

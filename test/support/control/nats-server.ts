/** A real NATS with JetStream on loopback, its data in a temporary folder. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as dial } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { toolPath } from '../../requirements.ts';
import { freePort } from '../free-port.ts';

const START_MS = 15_000;

export class NatsServer implements AsyncDisposable {
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-nats-'));
  readonly #program: string;
  readonly port: number;
  #child: ChildProcess | undefined;

  private constructor(program: string, port: number) {
    this.#program = program;
    this.port = port;
  }

  static async start(): Promise<NatsServer> {
    const program = toolPath('nats-server');
    if (program === undefined) throw new Error('the program nats-server is not installed');
    const server = new NatsServer(program, await freePort());
    await server.up();
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${String(this.port)}`;
  }

  async up(): Promise<void> {
    const args = ['-a', '127.0.0.1', '-p', String(this.port), '-js', '-sd', this.#folder];
    this.#child = spawn(this.#program, args, { stdio: 'ignore' });
    const endMs = performance.now() + START_MS;
    while (!(await answers(this.port))) {
      if (performance.now() > endMs || this.#child.exitCode !== null) throw new Error('nats-server did not start');
      await sleep(20);
    }
  }

  /** Ends it at once; with `loses`, what it kept as well. */
  async down({ loses = false } = {}): Promise<void> {
    const child = this.#child;
    if (child?.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    if (loses) rmSync(path.join(this.#folder, 'jetstream'), { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = dial(port, '127.0.0.1');
  try {
    await once(socket, 'data');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

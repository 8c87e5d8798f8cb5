/** A gateway daemon that is started and killed again and again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { RUN, type Place } from '../verb.ts';

const READY_MS = 60_000;

export class KillableGateway {
  readonly #place: Place;
  readonly #home: string;
  #daemon: ChildProcess | undefined;

  constructor(place: Place, home: string) {
    this.#place = place;
    this.#home = home;
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [RUN, 'gateway', 'run', '--log-level', 'info'], {
      env: this.#place.env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#daemon = child;
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-20_000);
    });
    const deadline = Date.now() + READY_MS;
    const socket = join(this.#home, 'nbd.sock');
    for (;;) {
      if (child.exitCode !== null) throw new Error(`the gateway did not start: ${said}`);
      if (said.includes('"ready"') || said.includes('ready')) break;
      if (Date.now() > deadline) throw new Error(`the gateway is not ready: ${said}`);
      await delay(20);
    }
    if (!existsSync(socket)) throw new Error(`the gateway serves nothing: ${said}`);
  }

  async kill(): Promise<void> {
    const child = this.#daemon;
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    this.#daemon = undefined;
  }

  destroy(): void {
    this.#daemon?.kill('SIGKILL');
  }
}

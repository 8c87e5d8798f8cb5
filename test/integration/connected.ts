/** A process of `volume connect`, and what it tells. */
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { ended, until, type Ended, type HomeRig } from '../cli/gateway-rig.ts';

export interface ConnectEvent {
  readonly event: string;
  readonly address: string | null;
  readonly epoch: number | null;
  readonly afterMs: number | null;
  readonly repeated: number | null;
}

export class Connected implements AsyncDisposable {
  readonly events: ConnectEvent[] = [];
  readonly socket: string;
  readonly done: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #name: string;

  /** Of export `name`, and other words of the command. */
  constructor(rig: HomeRig, name: string, ...words: string[]) {
    this.#name = name;
    this.socket = path.join(rig.folder, 'follow.sock');
    this.#child = rig.spawn(['volume', 'connect', name, ...words, '--listen', `unix:${this.socket}`, '--json']);
    let text = '';
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const lines = text.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) this.events.push(JSON.parse(line) as ConnectEvent);
    });
    this.done = ended(this.#child);
  }

  get uri(): string {
    return `nbd+unix:///${this.#name}?socket=${this.socket}`;
  }

  kinds(): string[] {
    return this.events.map(({ event }) => event).filter((event) => event !== 'looking');
  }

  async ready(): Promise<void> {
    await until('it is ready', () => this.kinds().includes('ready'), 60_000);
  }

  /** The new holder, once it was found. */
  async moved(): Promise<ConnectEvent> {
    await until('the next holder is found', () => this.kinds().filter((kind) => kind === 'found').length > 1, 60_000);
    return this.events.findLast(({ event }) => event === 'found') as ConnectEvent;
  }

  /** Ends it in order. */
  async end(): Promise<Ended> {
    this.#child.kill('SIGTERM');
    return await this.done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.done;
  }
}

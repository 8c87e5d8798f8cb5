/** One member of the group: a gateway daemon with a home of its own, which can be killed, stopped, and given another time. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { RUN, placeIn, type Place } from '../verb.ts';
import { makeDisk, type MemberDisk } from './disk.ts';
import type { Network } from './net.ts';

const READY_MS = 60_000;
const SAID_CHARACTERS = 1_000_000;
const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';

export class Member {
  readonly number: number;
  readonly name: string;
  readonly home: string;
  readonly disk: MemberDisk;
  readonly #network: Network;
  readonly #place: Place;
  readonly #timeFile: string;
  #daemon: ChildProcess | undefined;
  #said = '';

  constructor(folder: string, number: number, network: Network) {
    this.number = number;
    this.name = `member-${String(number)}`;
    this.#network = network;
    const own = join(folder, this.name);
    this.disk = makeDisk(own);
    this.home = join(own, 'home');
    this.#timeFile = join(folder, `${this.name}.time`);
    this.jump(0);
    this.#place = placeIn(own, 'home', this.canJump ? fakeTime(this.#timeFile) : {});
  }

  get socket(): string {
    return join(this.home, 'nbd.sock');
  }

  get canJump(): boolean {
    return existsSync(FAKETIME);
  }

  /** What the daemon has said last. */
  get said(): string {
    return this.#said;
  }

  get isRunning(): boolean {
    return this.#daemon !== undefined;
  }

  /** The wall clock of the daemon is off by so much from now on. */
  jump(seconds: number): void {
    writeFileSync(this.#timeFile, `${seconds < 0 ? '' : '+'}${String(seconds)}\n`);
  }

  /** Runs a verb on this member's machine. @throws Error unless it ends with 0 */
  async sgw(...words: string[]): Promise<string> {
    const ran = await this.run(...words);
    if (ran.exitCode !== 0)
      throw new Error(`${this.name}: sgw ${words.join(' ')}: exit ${String(ran.exitCode)}: ${ran.output}`);
    return ran.stdout;
  }

  async run(
    ...words: string[]
  ): Promise<{ readonly exitCode: number | null; readonly stdout: string; readonly output: string }> {
    const child = this.#spawn(words);
    let [stdout, output] = ['', ''];
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
      output += chunk.toString();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    const exitCode = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { exitCode, stdout, output };
  }

  #spawn(words: readonly string[]): ChildProcess {
    const [command = '', ...rest] = [...this.#network.within(this.number), process.execPath, RUN, ...words];
    return spawn(command, rest, { env: this.#place.env, cwd: this.#place.folder, stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Starts the daemon; resolves when it answers. */
  async start(): Promise<void> {
    const child = this.#spawn(['gateway', 'run', '--log-level', 'info']);
    this.#daemon = child;
    const heard = { isReady: false };
    const hear = (chunk: Buffer): void => {
      const text = chunk.toString();
      heard.isReady ||= text.includes('ready');
      this.#said = (this.#said + text).slice(-SAID_CHARACTERS);
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    for (const deadline = Date.now() + READY_MS; !heard.isReady;) {
      if (child.exitCode !== null) throw new Error(`${this.name} did not start: ${this.#said}`);
      if (Date.now() > deadline) throw new Error(`${this.name} is not ready: ${this.#said}`);
      await delay(20);
    }
  }

  /** `ip netns exec` becomes the command that it starts, so this is the daemon itself. */
  signal(signal: NodeJS.Signals): void {
    this.#daemon?.kill(signal);
  }

  async kill(): Promise<void> {
    const child = this.#daemon;
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await ended;
    }
    this.#daemon = undefined;
  }
}

const fakeTime = (file: string): NodeJS.ProcessEnv => ({
  LD_PRELOAD: FAKETIME,
  FAKETIME_TIMESTAMP_FILE: file,
  FAKETIME_NO_CACHE: '1',
  FAKETIME_DONT_FAKE_MONOTONIC: '1',
});

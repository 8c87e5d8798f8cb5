/** A machine under emulation, whose console is read and written line by line, and whose network reaches this one's loopback. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { BootFiles } from './system.ts';

/** QEMU's user-mode network: this machine, by which it reaches 127.0.0.1, and the emulated one's own address. */
export const HOST = '10.0.2.2';
export const GUEST = '10.0.2.15/24';

const MEMORY_MIB = 1024;

export class Machine implements Disposable {
  readonly #qemu: ChildProcessByStdio<Writable, Readable, null>;
  readonly #log: WriteStream;
  #isOver = false;

  /** Boots it with variables for its first process; `log` gets what comes on its console. */
  constructor({ kernel, initrd }: BootFiles, variables: Readonly<Record<string, string | number>>, log: string) {
    const words = Object.entries(variables).map(([name, value]) => `${name}=${String(value)}`);
    const options = [
      ...['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', String(MEMORY_MIB), '-no-reboot'],
      ...['-display', 'none', '-monitor', 'none', '-serial', 'stdio', '-nic', 'user,model=virtio-net-pci'],
      ...['-device', 'virtio-rng-pci', '-kernel', kernel, '-initrd', initrd],
      ...['-append', ['console=ttyS0 quiet loglevel=1 panic=-1', ...words].join(' ')],
    ];
    this.#log = createWriteStream(log, { flags: 'a' });
    this.#qemu = spawn('qemu-system-x86_64', options, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#qemu.stdin.on('error', () => undefined); // It is over.
    this.#qemu.once('exit', () => {
      this.#isOver = true;
    });
  }

  /** What it says, until it is off. */
  async *lines(): AsyncGenerator<string> {
    for await (const line of createInterface({ input: this.#qemu.stdout })) {
      const plain = line.replaceAll('\r', '');
      this.#log.write(`${plain}\n`);
      yield plain;
    }
  }

  /** Types a line. */
  send(word: string): void {
    this.#qemu.stdin.write(`${word}\n`);
  }

  /** Switches it off. Idempotent. */
  [Symbol.dispose](): void {
    if (!this.#isOver) this.#qemu.kill('SIGKILL');
    this.#log.end();
  }
}

/**
 * A disk in memory below a write log. Cutting the power keeps of each file what was synced, and any part, sector by sector, of
 * what was written since; the end of the process keeps everything. Syncs and writes fail where a test wants them to.
 */
import type { LogDisk, LogFile } from '../../src/core/writelog/index.ts';
import type { Random } from '../../src/core/kit/index.ts';

interface Written {
  readonly at: number;
  readonly bytes: Buffer;
}

interface Node {
  live: Buffer;
  durable: Buffer;
  /** Not covered by a completed sync, oldest first. */
  unsynced: Written[];
}

const SECTOR_BYTES = 512;

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code, path, syscall: 'simulated' });
}

export class ForgetfulLogDisk implements LogDisk {
  bootId: string;
  readonly files: Map<string, Node>;
  /** Calls so far. */
  syncs = 0;
  writes = 0;
  /** Error codes that these calls fail with. */
  failWrites: string | undefined;
  failSyncs: string | undefined;
  failOpens: string | undefined;
  failReads: { readonly name: string; readonly page: number } | undefined;
  /** Called after each write. */
  onWrite: (() => void) | undefined;
  /** Called after each sync that succeeded. */
  onSync: (() => void) | undefined;
  /** Syncs wait for this. */
  syncGate: Promise<void> | undefined;
  readonly asides: string[] = [];

  constructor(files = new Map<string, Node>(), bootId = '1'.repeat(32)) {
    this.files = files;
    this.bootId = bootId;
  }

  /** As it is found after the process has ended at any moment. The old object is of no more use. */
  afterKill(): ForgetfulLogDisk {
    return new ForgetfulLogDisk(new Map([...this.files].map(([name, node]) => [name, { ...node }])), this.bootId);
  }

  /** As it is found when the power is back. Parts of `grainBytes` are kept or lost as a whole. */
  afterCut(random: Random, grainBytes: number): ForgetfulLogDisk {
    const how = random.float();
    const kept = how < 0.2 ? 0 : how < 0.4 ? 1 : random.float();
    const files = new Map<string, Node>();
    for (const [name, node] of this.files) {
      const bytes = Buffer.from(node.durable);
      for (const written of node.unsynced) {
        for (let at = 0; at < written.bytes.length;) {
          const end = Math.min(written.bytes.length, at + grainBytes - ((written.at + at) % grainBytes));
          if (random.float() < kept) written.bytes.copy(bytes, written.at + at, at, end);
          at = end;
        }
      }
      files.set(name, { live: bytes, durable: Buffer.from(bytes), unsynced: [] });
    }
    return new ForgetfulLogDisk(files, random.bytes(16).toString('hex'));
  }

  /** A copy that can be damaged. */
  copy(): ForgetfulLogDisk {
    const files = new Map<string, Node>();
    for (const [name, { live }] of this.files) {
      files.set(name, { live: Buffer.from(live), durable: Buffer.from(live), unsynced: [] });
    }
    return new ForgetfulLogDisk(files, this.bootId);
  }

  bytesOf(name: string): Buffer {
    return (this.files.get(name) as Node).live;
  }

  async list(): Promise<string[]> {
    return [...this.files.keys()];
  }

  async open(name: string, sizeBytes: number): Promise<LogFile> {
    if (!this.files.has(name)) {
      if (this.failOpens !== undefined) throw failure(this.failOpens, name);
      await Promise.resolve();
      this.files.set(name, { live: Buffer.alloc(sizeBytes), durable: Buffer.alloc(sizeBytes), unsynced: [] });
    }
    return new ForgetfulFile(this, name, this.files.get(name) as Node);
  }

  async remove(name: string): Promise<void> {
    if (!this.files.delete(name)) throw failure('ENOENT', name);
  }

  async setAside(reason: string): Promise<string> {
    this.asides.push(reason);
    this.files.clear();
    return `/aside/${reason}`;
  }
}

class ForgetfulFile implements LogFile {
  readonly name: string;
  readonly path = undefined;
  readonly sizeBytes: number;
  readonly #disk: ForgetfulLogDisk;
  readonly #node: Node;

  constructor(disk: ForgetfulLogDisk, name: string, node: Node) {
    this.#disk = disk;
    this.name = name;
    this.#node = node;
    this.sizeBytes = node.live.length;
  }

  readSync(target: Uint8Array, position: number): void {
    const fails = this.#disk.failReads;
    const at = (fails?.page ?? 0) * 4096;
    if (fails?.name === this.name && at >= position && at < position + target.length) throw failure('EIO', this.name);
    if (position + target.length > this.#node.live.length) throw failure('EIO', this.name);
    target.set(this.#node.live.subarray(position, position + target.length));
  }

  writeSync(pieces: readonly Uint8Array[], position: number): void {
    this.#disk.writes += 1;
    const bytes = Buffer.concat(pieces);
    if (this.#disk.failWrites !== undefined) {
      // Some of it is written all the same.
      this.#put(bytes.subarray(0, Math.floor(bytes.length / 2 / SECTOR_BYTES) * SECTOR_BYTES), position);
      throw failure(this.#disk.failWrites, this.name);
    }
    this.#put(bytes, position);
    this.#disk.onWrite?.();
  }

  #put(bytes: Buffer, position: number): void {
    if (position + bytes.length > this.#node.live.length) {
      const longer = Buffer.alloc(position + bytes.length);
      this.#node.live.copy(longer);
      this.#node.live = longer;
    }
    bytes.copy(this.#node.live, position);
    this.#node.unsynced.push({ at: position, bytes });
  }

  async sync(): Promise<void> {
    this.#disk.syncs += 1;
    const count = this.#node.unsynced.length;
    await (this.#disk.syncGate ?? Promise.resolve());
    if (this.#disk.failSyncs !== undefined) {
      // As on Linux: what could not be written counts as written from now on.
      this.#node.unsynced.splice(0, count);
      throw failure(this.#disk.failSyncs, this.name);
    }
    for (const { at, bytes } of this.#node.unsynced.splice(0, count)) {
      if (at + bytes.length > this.#node.durable.length) {
        this.#node.durable = Buffer.concat([
          this.#node.durable,
          Buffer.alloc(at + bytes.length - this.#node.durable.length),
        ]);
      }
      bytes.copy(this.#node.durable, at);
    }
    this.#disk.onSync?.();
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}

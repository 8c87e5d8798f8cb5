/**
 * A disk in memory that forgets what was not synced, behind the functions of node:fs/promises that the directory store
 * uses. Cutting the power gives the disk as it may be found: of each file the bytes that were synced, and any part of what
 * was written since; of each directory the entries that were synced, and any of the changes since, in the order of
 * the changes or not.
 */
import { constants } from 'node:fs';
import type { Random } from '../../src/core/kit/index.ts';

/** Shorter ones are written at once. */
const SHORT_WRITE_BYTES_MIN = 64;

interface FileNode {
  readonly kind: 'file';
  bytes: Buffer;
  mode: number;
  synced: Buffer;
  syncedMode: number;
  /** Since the last sync. */
  writes: { readonly at: number; readonly bytes: Buffer }[];
}

interface LinkNode {
  readonly kind: 'link';
  readonly text: string;
}

interface FolderNode {
  readonly kind: 'folder';
  readonly entries: Map<string, Node>;
  readonly synced: Map<string, Node>;
  /** Since the last sync. */
  changes: { readonly name: string; readonly node: Node | undefined }[];
}

type Node = FileNode | LinkNode | FolderNode;

const newFolder = (): FolderNode => ({ kind: 'folder', entries: new Map(), synced: new Map(), changes: [] });

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code, path, syscall: 'simulated' });
}

export class ForgetfulDisk {
  readonly #root: FolderNode;
  readonly #random: Random;
  #steps = 0;
  #cutAt = Number.POSITIVE_INFINITY;
  #onCut: () => void = () => undefined;

  constructor(random: Random, root: FolderNode = newFolder()) {
    this.#random = random;
    this.#root = root;
  }

  /** Calls of the file system so far. */
  get steps(): number {
    return this.#steps;
  }

  get isCut(): boolean {
    return this.#steps >= this.#cutAt;
  }

  /** After so many more calls the power is cut: those under way and all later ones never end. */
  async cutAfter(steps: number): Promise<void> {
    this.#cutAt = this.#steps + steps;
    await new Promise<void>((resolve) => {
      this.#onCut = resolve;
    });
  }

  /** What is found when the power is back. */
  afterCut(): ForgetfulDisk {
    const how = this.#random.float();
    const kept = how < 0.25 ? 0 : how < 0.4 ? 1 : this.#random.float();
    const copies = new Map<Node, Node>();
    return new ForgetfulDisk(this.#random, this.#copy(this.#root, kept, copies) as FolderNode);
  }

  #copy(node: Node, kept: number, copies: Map<Node, Node>): Node {
    const known = copies.get(node);
    if (known !== undefined) return known;
    const copy = node.kind === 'file' ? this.#tornFile(node, kept) : node.kind === 'link' ? node : newFolder();
    copies.set(node, copy);
    if (node.kind !== 'folder' || copy.kind !== 'folder') return copy;
    for (const [name, child] of this.#foundEntries(node, kept)) {
      const found = this.#copy(child, kept, copies);
      copy.entries.set(name, found);
      copy.synced.set(name, found);
    }
    return copy;
  }

  #foundEntries(folder: FolderNode, kept: number): Map<string, Node> {
    const entries = new Map(folder.synced);
    const inOrder = this.#random.float() < 0.3;
    for (const { name, node } of folder.changes) {
      if (this.#random.float() >= kept) {
        if (inOrder) break;
        continue;
      }
      if (node === undefined) entries.delete(name);
      else entries.set(name, node);
    }
    return entries;
  }

  #tornFile(file: FileNode, kept: number): FileNode {
    let bytes = file.synced;
    for (const write of file.writes) {
      const part = this.#random.float() < kept ? 1 : this.#random.float() < 0.5 ? this.#random.float() : 0;
      bytes = overwritten(bytes, write.at, write.bytes.subarray(0, Math.floor(write.bytes.length * part)));
    }
    const mode = this.#random.float() < 0.5 ? file.mode : file.syncedMode;
    return { kind: 'file', bytes, mode, synced: bytes, syncedMode: mode, writes: [] };
  }

  /** One call of the file system: others may come before it, and it may be the one at which the power is cut. */
  async #step(): Promise<void> {
    for (let turns = Math.floor(this.#random.float() * 3); turns > 0; turns--) await new Promise(setImmediate);
    if (this.isCut) await new Promise(() => undefined);
    this.#steps += 1;
    if (this.isCut) this.#onCut();
  }

  #find(path: string): Node {
    let node: Node = this.#root;
    for (const name of path.split('/').filter((part) => part !== '')) {
      if (node.kind !== 'folder') throw failure('ENOTDIR', path);
      const child = node.entries.get(name);
      if (child === undefined) throw failure('ENOENT', path);
      node = child;
    }
    return node;
  }

  #parent(path: string): { folder: FolderNode; name: string } {
    const at = path.lastIndexOf('/');
    const folder = this.#find(path.slice(0, at));
    if (folder.kind !== 'folder') throw failure('ENOTDIR', path);
    return { folder, name: path.slice(at + 1) };
  }

  #change(path: string, node: Node | undefined): void {
    const { folder, name } = this.#parent(path);
    if (node === undefined) folder.entries.delete(name);
    else folder.entries.set(name, node);
    folder.changes.push({ name, node });
  }

  #add(path: string, node: Node): void {
    const { folder, name } = this.#parent(path);
    if (folder.entries.has(name)) throw failure('EEXIST', path);
    this.#change(path, node);
  }

  /** The functions, by their names in node:fs/promises. */
  readonly calls = {
    mkdir: async (path: string, options?: { recursive?: boolean }): Promise<string | undefined> => {
      await this.#step();
      if (options?.recursive !== true) {
        this.#add(path, newFolder());
        return undefined;
      }
      let first: string | undefined;
      const parts = path.split('/').filter((part) => part !== '');
      for (let count = 1; count <= parts.length; count++) {
        const at = `/${parts.slice(0, count).join('/')}`;
        if (this.#parent(at).folder.entries.has(parts[count - 1] as string)) continue;
        this.#add(at, newFolder());
        first ??= at;
      }
      return first;
    },
    readdir: async (path: string): Promise<string[]> => {
      await this.#step();
      const node = this.#find(path);
      if (node.kind !== 'folder') throw failure('ENOTDIR', path);
      return [...node.entries.keys()];
    },
    lstat: async (path: string): Promise<object> => {
      await this.#step();
      return statOf(this.#find(path));
    },
    readlink: async (path: string): Promise<string> => {
      await this.#step();
      const node = this.#find(path);
      if (node.kind !== 'link') throw failure('EINVAL', path);
      return node.text;
    },
    readFile: async (path: string): Promise<string> => {
      await this.#step();
      const node = this.#find(path);
      if (node.kind !== 'file') throw failure('EISDIR', path);
      return node.bytes.toString();
    },
    link: async (existing: string, path: string): Promise<void> => {
      await this.#step();
      this.#add(path, this.#find(existing));
    },
    symlink: async (text: string, path: string): Promise<void> => {
      await this.#step();
      this.#add(path, { kind: 'link', text });
    },
    rename: async (from: string, to: string): Promise<void> => {
      await this.#step();
      this.#change(to, this.#find(from));
      this.#change(from, undefined);
    },
    unlink: async (path: string): Promise<void> => {
      await this.#step();
      this.#find(path);
      this.#change(path, undefined);
    },
    open: async (path: string, flags: string | number): Promise<object> => {
      await this.#step();
      if (flags === 'wx') {
        const nothing = Buffer.alloc(0);
        this.#add(path, { kind: 'file', bytes: nothing, mode: 0o600, synced: nothing, syncedMode: 0o600, writes: [] });
      }
      const node = this.#find(path);
      if (node.kind === 'link') throw failure('ELOOP', path);
      if (node.kind === 'folder' && typeof flags === 'number' && (flags & constants.O_NOFOLLOW) !== 0)
        throw failure('EISDIR', path);
      return node.kind === 'file' ? this.#fileHandle(node) : this.#folderHandle(node);
    },
  };

  #folderHandle(folder: FolderNode): object {
    const sync = async (): Promise<void> => {
      await this.#step();
      const covered = folder.changes.length;
      // Long enough for others to come in between.
      for (let turns = Math.floor(this.#random.float() * 12); turns > 0; turns--) await new Promise(setImmediate);
      await this.#step();
      // Changes that came while it ran may be lost still.
      for (const { name, node } of folder.changes.splice(0, covered)) {
        if (node === undefined) folder.synced.delete(name);
        else folder.synced.set(name, node);
      }
    };
    return { sync, close: async () => this.#step() };
  }

  #fileHandle(file: FileNode): object {
    const write = async (bytes: Uint8Array, offset: number, length: number, at: number): Promise<object> => {
      await this.#step();
      // A write may be a short one.
      const count =
        length > SHORT_WRITE_BYTES_MIN && this.#random.float() < 0.1 ? Math.max(1, Math.floor(length / 2)) : length;
      const written = Buffer.from(bytes.subarray(offset, offset + count));
      file.bytes = overwritten(file.bytes, at, written);
      file.writes.push({ at, bytes: written });
      return { bytesWritten: count };
    };
    const sync = async (): Promise<void> => {
      await this.#step();
      const { bytes, mode } = file;
      const covered = file.writes.length;
      await this.#step();
      file.synced = bytes;
      file.syncedMode = mode;
      file.writes.splice(0, covered);
    };
    return {
      write,
      sync,
      datasync: sync,
      writeFile: async (text: string) => write(Buffer.from(text), 0, text.length, 0),
      read: async (target: Buffer, offset: number, length: number, at: number) => {
        await this.#step();
        return { bytesRead: file.bytes.copy(target, offset, at, at + length), buffer: target };
      },
      stat: async () => {
        await this.#step();
        return statOf(file);
      },
      chmod: async (mode: number) => {
        await this.#step();
        file.mode = mode;
      },
      close: async () => this.#step(),
    };
  }
}

function statOf(node: Node): object {
  return {
    isSymbolicLink: () => node.kind === 'link',
    size: node.kind === 'file' ? node.bytes.length : 0,
    mode: node.kind === 'file' ? node.mode : 0o700,
    mtimeMs: Date.now(),
  };
}

/** A hole between the end and `at` reads as zeroes. */
function overwritten(bytes: Buffer, at: number, written: Buffer): Buffer {
  if (written.length === 0) return bytes;
  const result = Buffer.alloc(Math.max(bytes.length, at + written.length));
  bytes.copy(result);
  written.copy(result, at);
  return result;
}

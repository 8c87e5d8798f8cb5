/** NBD servers that are compared, each in a process of its own over a unix socket, with an image or volume of the same size. */
import { spawn } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { cpuSecondsOf, program, rawFile, waitFor } from './processes.ts';
import { call, versionOf } from './programs.ts';
import type { ServerChoice } from './served.ts';
import { Subject } from './subject.ts';

/** The file plugin of nbdkit. */
export const nbdkitFile: ServerChoice = {
  name: 'nbdkit file',
  missing: versionOf('nbdkit', '--version') === undefined ? 'nbdkit is not installed' : undefined,
  start: (folder, sizeBytes) => {
    const socket = path.join(folder, 'nbdkit.sock');
    return program('nbdkit file', socket, `nbd+unix:///?socket=${socket}`, [
      'nbdkit',
      '-f',
      '-U',
      socket,
      'file',
      rawFile(folder, 'nbdkit.img', sizeBytes),
    ]);
  },
};

/** QEMU's server as it comes, or with another cache mode. */
export const qemuNbd = (cache?: 'writethrough'): ServerChoice => {
  const name = cache === undefined ? 'qemu-nbd' : `qemu-nbd --cache=${cache}`;
  return {
    name,
    missing: versionOf('qemu-nbd', '--version') === undefined ? 'qemu-nbd is not installed' : undefined,
    start: (folder, sizeBytes) => {
      const socket = path.join(folder, `qemu-${cache ?? 'default'}.sock`);
      const image = rawFile(folder, `qemu-${cache ?? 'default'}.img`, sizeBytes);
      const options = cache === undefined ? [] : [`--cache=${cache}`];
      const argv = ['qemu-nbd', '-f', 'raw', '-t', '-e', '4', ...options, '-k', socket, image] as const;
      return program(name, socket, `nbd+unix:///?socket=${socket}`, [...argv]);
    },
  };
};

/**
 * s3backer over a directory (its test mode), with a block cache as large as the volume, its file served by nbdkit. It answers
 * writes, and flushes too, from memory.
 */
export const s3backer: ServerChoice = {
  name: 's3backer',
  missing: versionOf('s3backer', '--version') === undefined ? 's3backer is not installed' : undefined,
  start: (folder, sizeBytes) => {
    const [store, mount] = [path.join(folder, 's3backer-store'), path.join(folder, 's3backer')];
    for (const each of [store, mount]) mkdirSync(each);
    const blocks = String(sizeBytes / 4096);
    const limits = ['--blockSize=4k', `--size=${String(sizeBytes)}`, `--blockCacheSize=${blocks}`];
    const backer = spawn('s3backer', ['--test', '-f', ...limits, store, mount], { stdio: 'ignore' });
    const { pid } = backer;
    if (pid === undefined) throw new Error('s3backer does not start');
    const file = path.join(mount, 'file');
    waitFor(file, 's3backer');
    const socket = path.join(folder, 's3backer.sock');
    const argv = ['nbdkit', '-f', '-U', socket, 'file', file];
    const server = program('s3backer', socket, `nbd+unix:///?socket=${socket}`, argv);
    return {
      ...server,
      cpuSeconds: () => server.cpuSeconds() + cpuSecondsOf(pid),
      [Symbol.dispose]: () => {
        server[Symbol.dispose]();
        call({ argv: ['sh', '-c', 'for i in $(seq 50); do umount "$0" 2>/dev/null && exit; sleep 0.2; done', mount] });
        backer.unref();
      },
    };
  },
};

/** A cached volume, served by the gateway's daemon. */
export const sgwVolume: ServerChoice = {
  name: 'sgw',
  missing: undefined,
  start: (folder, sizeBytes) => {
    const subject = new Subject(path.join(folder, 'sgw'));
    call(subject.does('gateway', 'start'));
    call(subject.does('volume', 'create', 'bench', '--size', String(sizeBytes)));
    const { uris } = JSON.parse(call(subject.does('volume', 'attach', 'bench', '--json'))) as { uris: string[] };
    const { pid } = JSON.parse(call(subject.does('gateway', 'show', '--json'))) as { pid: number };
    return {
      name: 'sgw',
      uri: uris[0] ?? '',
      cpuSeconds: () => cpuSecondsOf(pid),
      [Symbol.dispose]: () => {
        call(subject.does('gateway', 'stop'));
      },
    };
  },
};

/** The server of sgw alone, over a device in memory: what the protocol costs. */
export const sgwMemory: ServerChoice = {
  name: 'sgw, device in memory',
  missing: undefined,
  start: (folder, sizeBytes) => {
    const socket = path.join(folder, 'memory.sock');
    const file = path.join(import.meta.dirname, 'nbd-memory.ts');
    const argv = [process.execPath, file, socket, String(sizeBytes)];
    return program('sgw, device in memory', socket, `nbd+unix:///?socket=${socket}`, argv);
  },
};

/** The server of sgw over an image, with no shadow. */
export const sgwImage: ServerChoice = {
  name: 'shadowing off',
  missing: undefined,
  start: (folder, sizeBytes) => {
    const socket = path.join(folder, 'image.sock');
    const file = path.join(import.meta.dirname, 'nbd-memory.ts');
    const image = rawFile(folder, 'off.img', sizeBytes);
    const argv = [process.execPath, file, socket, String(sizeBytes), image];
    return program('shadowing off', socket, `nbd+unix:///?socket=${socket}`, argv);
  },
};

/**
 * An image that a gateway shadows. `passThrough`: its store goes away once the image is there, and its buffer is full.
 */
export const sgwShadow = (passThrough: boolean): ServerChoice => {
  const name = passThrough ? 'pass-through' : 'shadowing on';
  return {
    name,
    missing: undefined,
    start: (folder, sizeBytes) => {
      const subject = new Subject(path.join(folder, passThrough ? 'away' : 'on'), 'shadowing');
      const image = rawFile(folder, passThrough ? 'away.img' : 'on.img', sizeBytes);
      call(subject.does('gateway', 'start'));
      const attached = call(subject.does('volume', 'attach', 'bench', '--image', image, '--json'));
      const { uris } = JSON.parse(attached) as { uris: string[] };
      if (passThrough) call(subject.does('volume', 'configure', 'bench', '--buffer', '64MiB'));
      const { pid } = JSON.parse(call(subject.does('gateway', 'show', '--json'))) as { pid: number };
      const away = `${subject.store}-away`;
      if (passThrough) renameSync(subject.store, away);
      return {
        name,
        uri: uris[0] ?? '',
        cpuSeconds: () => cpuSecondsOf(pid),
        [Symbol.dispose]: () => {
          if (passThrough) renameSync(away, subject.store);
          call(subject.does('gateway', 'stop'));
        },
      };
    },
  };
};

/**
 * QEMU's storage daemon over an image that a mirror job copies to a server of NBD: behind the writes, or with them
 * (`write-blocking`), and then a write is answered when both have it.
 */
export const qemuMirror = (copyMode: 'background' | 'write-blocking'): ServerChoice => {
  const name = `qemu mirror, ${copyMode}`;
  return {
    name,
    missing:
      versionOf('qemu-storage-daemon', '--version') === undefined ? 'qemu-storage-daemon is not installed' : undefined,
    start: (folder, sizeBytes) => {
      const place = (suffix: string): string => path.join(folder, `mirror-${copyMode}${suffix}`);
      const far = place('-far.sock');
      const copy = rawFile(folder, `mirror-${copyMode}-copy.img`, sizeBytes);
      const target = program('the target', far, '', ['qemu-nbd', '-f', 'raw', '-t', '-k', far, copy]);
      const image = rawFile(folder, `mirror-${copyMode}.img`, sizeBytes);
      const server = program(name, place('.sock'), `nbd+unix:///bench?socket=${place('.sock')}`, [
        'qemu-storage-daemon',
        ...['--blockdev', `file,node-name=disk,filename=${image}`],
        ...['--blockdev', `nbd,node-name=far,server.type=unix,server.path=${far}`],
        ...['--chardev', `socket,id=monitor,path=${place('.qmp')},server=on,wait=off`, '--monitor', 'chardev=monitor'],
        ...['--nbd-server', `addr.type=unix,addr.path=${place('.sock')},max-connections=0`],
        ...['--export', 'nbd,id=bench,node-name=disk,name=bench,writable=on'],
      ]);
      const job = { 'job-id': 'mirror', device: 'disk', target: 'far', sync: 'full', 'copy-mode': copyMode };
      const commands = [{ execute: 'blockdev-mirror', arguments: job }, { untilReady: 'mirror' }];
      const monitor = path.join(import.meta.dirname, 'qmp.ts');
      call({ argv: [process.execPath, monitor, place('.qmp'), ...commands.map((one) => JSON.stringify(one))] });
      return {
        ...server,
        cpuSeconds: () => server.cpuSeconds() + target.cpuSeconds(),
        [Symbol.dispose]: () => {
          server[Symbol.dispose]();
          target[Symbol.dispose]();
        },
      };
    },
  };
};

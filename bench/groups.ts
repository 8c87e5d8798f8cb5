/**
 * What `ack=peer` costs: three gateways of one group on this machine, over one store. The first holds a volume of no group, and
 * two of the group for each number of replicas, one with `ack=log` and one with `ack=peer`.
 */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { requireFio, runFio, runFioWrites } from './fio.ts';
import { cpuSecondsOf } from './processes.ts';
import { call } from './programs.ts';
import { compare, type Endpoint, type Load, type ServedFinding, type ServerChoice } from './served.ts';
import type { Settings } from './settings.ts';
import { Subject } from './subject.ts';

const SIZE_BYTES = 256 * 1024 ** 2;
const RUN_SECONDS = 4;
const MEMBERS = 3;
const SETTLED_MS_MAX = 120_000;
const LOOK_MS = 500;

const WRITES = ['--rw=randwrite', '--bs=4k', `--size=${String(SIZE_BYTES)}`, '--time_based'];
const TIMED = [...WRITES, `--runtime=${String(RUN_SECONDS)}`];

const PEER = 'ack=peer';
const LOG = 'ack=log';

const loadsOf = (replicas: number): readonly Load[] => {
  const place = `${String(replicas)} replica${replicas === 1 ? '' : 's'}`;
  return [
    {
      id: place,
      title: '4 KiB random write, 32 in flight',
      run: (uri) => runFioWrites(uri, ['--iodepth=32', ...TIMED]),
      bars: { [LOG]: 0.6 },
    },
    {
      id: place,
      title: '4 KiB random write, 1 in flight',
      run: (uri) => runFioWrites(uri, ['--iodepth=1', ...TIMED]),
      bars: {},
    },
  ];
};

interface GroupVolumes {
  readonly volumes: readonly {
    readonly name: string;
    readonly inSync: readonly string[];
    readonly degraded: boolean;
  }[];
}

/** The members, started: the first holds all volumes. */
class Rack implements Disposable {
  readonly #members: Subject[];
  readonly #pids: readonly number[];

  constructor(folder: string) {
    const store = path.join(folder, 'store');
    const members = Array.from({ length: MEMBERS }, (_, at) => {
      const name = `member-${String(at)}`;
      return new Subject(path.join(folder, name), 'cached', { name, store });
    });
    this.#members = members;
    // A gateway finds out that it is in a group when it starts.
    this.sgw('group', 'create', 'rack');
    for (const { name } of members) this.sgw('group', 'add', 'rack', name);
    for (const member of members) call(member.does('gateway', 'start'));
    this.#pids = members.map((member) => {
      const { pid } = JSON.parse(call(member.does('gateway', 'show', '--json'))) as { pid: number };
      return pid;
    });
  }

  sgw(...args: readonly string[]): string {
    const [first] = this.#members;
    if (first === undefined) throw new Error('a group has members');
    return call(first.does(...args));
  }

  /** A volume that is attached, and in the group when it is to have replicas. */
  serve(label: string, name: string, replicas: number, ack: 'log' | 'peer'): Endpoint {
    this.sgw('volume', 'create', name, '--size', String(SIZE_BYTES));
    const { uris } = JSON.parse(this.sgw('volume', 'attach', name, '--json')) as { uris: string[] };
    if (replicas > 0) this.sgw('group', 'assign', 'rack', name, '--replicas', String(replicas), '--ack', ack);
    return {
      name: label,
      uri: uris[0] ?? '',
      cpuSeconds: () => this.#pids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0),
      settle: () => {
        until(`${name} in the store, its replicas in sync`, () => this.#isSettled(name, replicas));
        // What the run before has left in the page cache would be written back during this one.
        execFileSync('sync');
      },
      // All are disposed at once, while the folder is there.
      [Symbol.dispose]: () => {
        this[Symbol.dispose]();
      },
    };
  }

  #isSettled(name: string, replicas: number): boolean {
    const shown = JSON.parse(this.sgw('volume', 'show', name, '--json')) as { attachment: { dirtyBytes: number } };
    if (shown.attachment.dirtyBytes > 0) return false;
    if (replicas === 0) return true;
    const { volumes } = JSON.parse(this.sgw('group', 'show', 'rack', '--json')) as GroupVolumes;
    const volume = volumes.find((one) => one.name === name);
    return volume?.degraded === false && volume.inSync.length === replicas + 1;
  }

  [Symbol.dispose](): void {
    for (const member of this.#members.splice(0)) call(member.does('gateway', 'stop'));
  }
}

function until(what: string, isSo: () => boolean): void {
  const deadlineMs = performance.now() + SETTLED_MS_MAX;
  const cell = new Int32Array(new SharedArrayBuffer(4));
  while (!isSo()) {
    if (performance.now() > deadlineMs) throw new Error(`not so in time: ${what}`);
    Atomics.wait(cell, 0, 0, LOOK_MS);
  }
}

/** Alternating rounds of the same load, with one replica and with two. */
export function benchGroups(settings: Settings): ServedFinding {
  requireFio();
  const findings = [1, 2].map((replicas) => {
    let rack: Rack | undefined;
    const served = (label: string, name: string, count: number, ack: 'log' | 'peer'): ServerChoice => ({
      name: label,
      missing: undefined,
      start: (folder) => {
        rack ??= new Rack(folder);
        return rack.serve(label, name, count, ack);
      },
    });
    const choices = [
      served(PEER, 'peer', replicas, 'peer'),
      served(LOG, 'log', replicas, 'log'),
      served('in no group, ack=log', 'alone', 0, 'log'),
    ];
    return compare(settings, choices, {
      id: 'GROUPS',
      title: `Groups: what ack=peer costs, ${String(replicas)} of ${String(MEMBERS)} members as replicas`,
      subject: PEER,
      loads: loadsOf(replicas),
      way:
        `All members on this machine, TLS over loopback, one store on the same disk; one connection over a unix socket, fio's nbd ` +
        `engine, ${String(RUN_SECONDS)} s a run, begun when all is in the store, the replicas in sync and nothing left to be written back`,
      sizeBytes: SIZE_BYTES,
      fill: (uri) => {
        runFio(uri, ['--rw=write', '--bs=1m', '--iodepth=4', `--size=${String(SIZE_BYTES)}`, '--end_fsync=1']);
      },
    });
  });
  return {
    id: 'GROUPS',
    markdown: findings.map(({ markdown }) => markdown).join('\n\n'),
    samples: Object.assign(
      {},
      ...findings.map(({ samples }, at) => prefixed(samples, String(at + 1))),
    ) as ServedFinding['samples'],
  };
}

const prefixed = (samples: ServedFinding['samples'], replicas: string): ServedFinding['samples'] =>
  Object.fromEntries(Object.entries(samples).map(([title, ofLoad]) => [`${replicas} replicas: ${title}`, ofLoad]));

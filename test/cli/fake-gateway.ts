/**
 * A gateway in memory for tests of the command line: enough state to be not activated, not found and
 * in conflict. It does no I/O; importing a file called `endless` lasts until it is stopped,
 * `stubborn` longer, and `bug` is one.
 */
import type { SgwError as SgwErrorClass } from '../../src/core/kit/index.ts';
import { activationHandlers, type ActivationTrouble } from './fake-activation.ts';
import { bandwidthHandlers } from './fake-bandwidth.ts';
import { groupHandlers } from './fake-groups.ts';
import { scheduleHandlers } from './fake-schedules.ts';
import { costHandlers } from './fake-cost.ts';
import { attachmentHandlers, SERVING } from './fake-attachments.ts';
import {
  ACCOUNT,
  careHandlers,
  checkSecret,
  newSlotKind,
  RECOVERY_CODE,
  shutRemark,
  verifyDamage,
} from './fake-care.ts';
import { servingHandlers } from './fake-serving.ts';
import type { CallContext, Handlers, Input, LocalApi, OperationName, Result } from '../../src/core/localapi/index.ts';

const TIME = '2026-11-22T23:45:00.000Z';
const UNDELETE_UNTIL = '2026-11-29T23:45:00.000Z';
const PAGE = 4096;

interface FakeVolume {
  volumeId: string;
  name: string;
  sizeBytes: number;
  parentSnapshotId: string | null;
  tags: Record<string, string>;
}

interface FakeSnapshot {
  snapshotId: string;
  name: string;
  volume: FakeVolume;
  description: string;
  tags: Record<string, string>;
}

export interface FakeGateway {
  readonly api: LocalApi;
  /** Every call so far: name and input. */
  readonly calls: { name: OperationName; input: unknown }[];
  readonly isClosed: () => boolean;
}

export interface FakeOptions {
  readonly activated?: boolean;
  /** Adds volume `golden` with snapshots `v1` and `v2`, volume `other` with snapshot `o1`, and the deleted `gone`. */
  readonly filled?: boolean;
  /** Whether the store is encrypted, with `PASSPHRASE`. */
  readonly encrypted?: boolean;
  /** Whether `store.scrub` and the verifications find `DAMAGE`. */
  readonly damaged?: boolean;
  /** Whether a daemon holds the home, and serves `golden`. */
  readonly served?: boolean;
  /** What goes wrong with an activation at a service. */
  readonly trouble?: ActivationTrouble;
  /** Whether an activation at a service was stopped here. */
  readonly stopped?: boolean;
  /** The class of errors to throw: that of the build under test. */
  readonly SgwError: typeof SgwErrorClass;
}

export function createFakeGateway(options: FakeOptions): FakeGateway {
  const { activated = true, filled = true, encrypted = false, damaged = false, served = false, SgwError } = options;
  const state = { activated, name: 'lab', mode: 'cached' as 'cached' | 'shadowing', version: 1 };
  const volumes: FakeVolume[] = [];
  const deletedVolumes: FakeVolume[] = [];
  const snapshots: FakeSnapshot[] = [];
  const calls: FakeGateway['calls'] = [];
  let closed = false;
  let lastId = 0;

  const newId = (prefix: string): string =>
    `${prefix}-${(++lastId).toString(16).padStart(17, prefix === 'vol' ? '0' : 'a')}`;
  const addVolume = (name: string, sizeBytes: number, more: Partial<FakeVolume> = {}): FakeVolume => {
    const volume = { volumeId: newId('vol'), name, sizeBytes, parentSnapshotId: null, tags: {}, ...more };
    volumes.push(volume);
    return volume;
  };
  const addSnapshot = (volume: FakeVolume, name: string, more: Partial<FakeSnapshot> = {}): FakeSnapshot => {
    const snapshot = { snapshotId: newId('snap'), name, volume, description: '', tags: {}, ...more };
    snapshots.push(snapshot);
    return snapshot;
  };
  if (filled) {
    const golden = addVolume('golden', 1024 * PAGE);
    addSnapshot(golden, 'v1');
    addSnapshot(golden, 'v2');
    addSnapshot(addVolume('other', 64 * PAGE), 'o1');
    const gone = addVolume('gone', PAGE);
    deletedVolumes.push(...volumes.splice(volumes.indexOf(gone), 1));
  }

  const notFound = (kind: string, ref: string): SgwErrorClass =>
    new SgwError('notFound', `${kind}-not-found`, `${kind} "${ref}" does not exist`, {
      hint: `List them with: sgw ${kind} list`,
      details: { ref },
    });
  const volumeOf = (ref: string): FakeVolume => {
    const volume = volumes.find((one) => one.name === ref || one.volumeId.startsWith(ref));
    if (volume === undefined) throw notFound('volume', ref);
    return volume;
  };
  const snapshotOf = (ref: string): FakeSnapshot => {
    const snapshot = snapshots.find((one) => one.name === ref || one.snapshotId.startsWith(ref));
    if (snapshot === undefined) throw notFound('snapshot', ref);
    return snapshot;
  };
  const requireFree = (kind: string, taken: readonly { name: string }[], name: string): void => {
    if (taken.some((one) => one.name === name))
      throw new SgwError('conflict', `${kind}-exists`, `${kind} "${name}" exists already`);
  };
  const requireActivated = (): void => {
    if (!state.activated) {
      throw new SgwError('conflict', 'not-activated', 'the home is not activated', { hint: 'Run: sgw activate' });
    }
  };

  const volumeDoc = (volume: FakeVolume): Result<'volume.resize'> => ({
    volumeId: volume.volumeId,
    name: volume.name,
    state: 'available',
    sizeBytes: volume.sizeBytes,
    mappedBytes: PAGE,
    accountId: ACCOUNT,
    createdAt: TIME,
    parentSnapshotId: volume.parentSnapshotId,
    tags: volume.tags,
  });
  const snapshotDoc = (snapshot: FakeSnapshot): Result<'snapshot.rename'> => ({
    snapshotId: snapshot.snapshotId,
    name: snapshot.name,
    state: 'completed',
    volumeId: snapshot.volume.volumeId,
    volumeName: snapshot.volume.name,
    sizeBytes: snapshot.volume.sizeBytes,
    mappedBytes: PAGE,
    seq: 1,
    accountId: ACCOUNT,
    createdAt: TIME,
    completedAt: TIME,
    description: snapshot.description,
    tags: snapshot.tags,
    scheduleId: null,
    verified: null,
  });
  const verifyDoc = (id: string, name: string): Result<'volume.verify'> => ({
    id,
    name,
    ok: true,
    checkedBytes: PAGE,
    checkedObjects: 2,
    durationMs: 3,
  });

  const nothingDeleted = {
    id: null,
    name: null,
    deleted: false,
    preview: false,
    freesBytes: null,
    undeleteUntil: null,
  };
  const preview = { preview: true, freesBytes: PAGE };
  const handlers: Handlers = {
    ...activationHandlers(
      () => state.activated,
      (name) => {
        Object.assign(state, { activated: true, name });
      },
      { SgwError, trouble: options.trouble },
    ),
    ...attachmentHandlers({ SgwError, served, volumeOf }),
    ...careHandlers({ SgwError, isDamaged: damaged, snapshotOf }),
    ...servingHandlers(served, SgwError),
    ...bandwidthHandlers(requireActivated),
    ...scheduleHandlers({ SgwError, requireActivated, volumeOf }),
    ...groupHandlers({ SgwError, requireActivated, volumeOf, isServed: served }),
    deactivate: async () => {
      requireActivated();
      state.activated = false;
      return {
        gatewayId: 'sgw-01234567',
        name: state.name,
        home: '/home/fake',
        store: '/home/fake/store',
        deactivatedAt: TIME,
      };
    },
    'volume.undelete': async (input) => {
      const volume = deletedVolumes.find((one) => one.name === input.volume || one.volumeId === input.volume);
      if (volume === undefined) throw notFound('volume', input.volume);
      requireFree('volume', volumes, volume.name);
      deletedVolumes.splice(deletedVolumes.indexOf(volume), 1);
      volumes.push(volume);
      return volumeDoc(volume);
    },
    activate: async (input, context) => {
      if (state.activated && input.ifNotExists !== true) {
        throw new SgwError('conflict', 'already-activated', 'the home is activated already');
      }
      if (options.stopped === true && !state.activated && input.store === undefined)
        throw new SgwError('conflict', 'activation-pending', 'the home is being activated at a service');
      const created = !state.activated;
      if (input.encrypt === true) await newSlotKind(context);
      const { name = 'host', mode = 'cached' } = input;
      Object.assign(state, { activated: true, name, mode });
      const store = input.store ?? '/home/fake/store';
      return {
        gatewayId: 'sgw-01234567',
        name,
        mode,
        accountId: ACCOUNT,
        home: '/home/fake',
        store,
        storeId: 'store-1',
        region: input.region ?? 'local',
        activatedAt: TIME,
        encryption: input.encrypt === true ? 'customer' : 'none',
        activationKey: null,
        metadata: {},
        recoveryCode: input.encrypt === true ? RECOVERY_CODE : null,
        created,
      };
    },
    status: async (_input, context) => ({
      version: '0.1.0',
      activated: state.activated,
      home: '/home/fake',
      gateway: state.activated
        ? {
            gatewayId: 'sgw-01234567',
            name: state.name,
            mode: state.mode,
            accountId: ACCOUNT,
            region: 'local',
            activatedAt: TIME,
          }
        : null,
      store: {
        description: '/home/fake/store',
        storeId: 'store-1',
        reachable: true,
        sharesDiskWithHome: true,
        freeBytes: 1 << 30,
      },
      daemon: { running: false, pid: null, since: null },
      volumes: { count: volumes.length, sizeBytes: 0, mappedBytes: 0 },
      snapshots: { count: snapshots.length, unverified: snapshots.length, unsound: 0 },
      exports: [],
      schedules: [],
      remarks: [
        encrypted ? await shutRemark(context) : 'The store and the home are on one disk: one lost disk takes both.',
      ],
    }),
    configure: async (input) => {
      requireActivated();
      Object.assign(state, input);
      const serving = { ...SERVING, ...input };
      return {
        name: state.name,
        mode: state.mode,
        version: ++state.version,
        serving: Object.fromEntries(
          Object.keys(SERVING).map((key) => [key, serving[key as keyof typeof SERVING]]),
        ) as typeof SERVING,
        peerListen: input.peerListen ?? null,
        onTakeover: input.onTakeover ?? null,
        changed: Object.keys(input),
        applied: [],
      };
    },
    'volume.create': async (input) => {
      const existing = volumes.find((one) => one.name === input.name);
      if (existing !== undefined && input.ifNotExists === true) return { ...volumeDoc(existing), created: false };
      requireFree('volume', volumes, input.name);
      const parent = input.fromSnapshot === undefined ? undefined : snapshotOf(input.fromSnapshot);
      const sizeBytes = input.sizeBytes ?? parent?.volume.sizeBytes ?? 0;
      const volume = addVolume(input.name, sizeBytes, {
        parentSnapshotId: parent?.snapshotId ?? null,
        tags: { ...input.tags },
      });
      return { ...volumeDoc(volume), created: true };
    },
    'volume.import': async (input, context) => {
      if (input.file.endsWith('endless')) await untilStopped(context);
      if (input.file.endsWith('stubborn')) await untilStopped({ ...context, signal: new AbortController().signal });
      if (input.file.endsWith('bug')) throw new TypeError('a bug, planted');
      if (input.file.endsWith('missing'))
        throw new SgwError('notFound', 'system-enoent', `${input.file} does not exist`);
      if (input.name !== undefined) requireFree('volume', volumes, input.name);
      const volume = input.into === undefined ? addVolume(input.name ?? '', 16 * PAGE) : volumeOf(input.into);
      return {
        ...volumeDoc(volume),
        source: input.file,
        format: input.format ?? 'raw',
        resumed: false,
        readBytes: PAGE,
        changedBytes: PAGE,
        zeroedBytes: 0,
        storedBytes: 100,
        durationMs: 5,
      };
    },
    'volume.list': async (input) => ({
      volumes: [
        ...volumes.map(volumeDoc),
        ...(input.deleted === true ? deletedVolumes : []).map((one) => ({
          ...volumeDoc(one),
          state: 'deleted' as const,
        })),
      ],
    }),
    'volume.show': async (input) => {
      const volume = volumeOf(input.volume);
      const own = snapshots.filter((one) => one.volume === volume);
      return {
        ...volumeDoc(volume),
        seq: 2,
        epoch: 1,
        holder: null,
        lastCommitAt: TIME,
        snapshots: own.map(({ snapshotId, name }) => ({ snapshotId, name })),
        unfinishedImport: null,
        recovery: { allForMs: 3_600_000, allMax: 64, tiers: [{ periodMs: 86_400_000, forMs: 7 * 86_400_000 }] },
        attachment: null,
      };
    },
    'volume.resize': async (input) => {
      const volume = volumeOf(input.volume);
      if (input.sizeBytes < volume.sizeBytes && input.shrink !== true) {
        throw new SgwError('invalid', 'would-shrink', `volume "${volume.name}" is larger than that`, {
          hint: 'Add --shrink.',
        });
      }
      volume.sizeBytes = input.sizeBytes;
      return volumeDoc(volume);
    },
    'volume.rename': async (input) => {
      const volume = volumeOf(input.volume);
      requireFree('volume', volumes, input.name);
      volume.name = input.name;
      return volumeDoc(volume);
    },
    'volume.delete': async (input) => {
      if (input.ifExists === true && !volumes.some((one) => one.name === input.volume))
        return { ...nothingDeleted, preview: input.preview === true };
      const volume = volumeOf(input.volume);
      const known = { ...nothingDeleted, id: volume.volumeId, name: volume.name, undeleteUntil: UNDELETE_UNTIL };
      if (input.preview === true) return { ...known, ...preview };
      deletedVolumes.push(volume);
      volumes.splice(volumes.indexOf(volume), 1);
      return { ...known, deleted: true };
    },
    'volume.map': async (input) => {
      const volume = volumeOf(input.volume);
      return {
        volumeId: volume.volumeId,
        name: volume.name,
        sizeBytes: volume.sizeBytes,
        storedBytes: 2 * PAGE,
        sharedBytes: PAGE,
        zeroBytes: volume.sizeBytes - 2 * PAGE,
        extents: [
          { offset: 0, length: PAGE, state: 'stored' },
          { offset: PAGE, length: PAGE, state: 'shared' },
          { offset: 2 * PAGE, length: volume.sizeBytes - 2 * PAGE, state: 'zero' },
        ],
      };
    },
    'volume.verify': async (input) => {
      const volume = volumeOf(input.volume);
      if (damaged) throw verifyDamage(SgwError);
      return verifyDoc(volume.volumeId, volume.name);
    },
    'snapshot.create': async (input) => {
      const volume = volumeOf(input.volume);
      const name = input.name ?? `${volume.name}-2026`;
      requireFree('snapshot', snapshots, name);
      const snapshot = addSnapshot(volume, name, { description: input.description ?? '', tags: { ...input.tags } });
      return { ...snapshotDoc(snapshot), created: true };
    },
    'snapshot.list': async (input) => {
      const volume = input.volume === undefined ? undefined : volumeOf(input.volume);
      return { snapshots: snapshots.filter((one) => volume === undefined || one.volume === volume).map(snapshotDoc) };
    },
    'snapshot.show': async (input) => ({
      ...snapshotDoc(snapshotOf(input.snapshot)),
      creators: [ACCOUNT],
      clones: [],
      exportable: true,
      grants: [],
    }),
    'snapshot.rename': async (input) => {
      const snapshot = snapshotOf(input.snapshot);
      requireFree('snapshot', snapshots, input.name);
      snapshot.name = input.name;
      return snapshotDoc(snapshot);
    },
    'snapshot.diff': async (input) => {
      const [from, to] = [snapshotOf(input.from), snapshotOf(input.to)];
      if (from.volume !== to.volume) {
        throw new SgwError(
          'invalid',
          'unrelated-snapshots',
          `snapshots "${from.name}" and "${to.name}" have no common ancestor`,
        );
      }
      return {
        from: from.snapshotId,
        to: to.snapshotId,
        fromSizeBytes: from.volume.sizeBytes,
        toSizeBytes: to.volume.sizeBytes,
        changedBytes: PAGE,
        zeroedBytes: 0,
        extents: [{ offset: 0, length: PAGE, state: 'changed' }],
      };
    },
    'snapshot.export': async (input) => {
      const snapshot = snapshotOf(input.snapshot);
      if (input.path.endsWith('existing.img') && input.force !== true) {
        throw new SgwError('conflict', 'file-exists', `${input.path} exists`, { hint: 'Add --force to replace it.' });
      }
      return {
        snapshotId: snapshot.snapshotId,
        name: snapshot.name,
        path: input.path,
        format: input.format ?? 'raw',
        sizeBytes: snapshot.volume.sizeBytes,
        dataBytes: PAGE,
        resumed: false,
        verified: true,
        remarks: [],
        durationMs: 4,
      };
    },
    'snapshot.restore': async (input) => {
      const { snapshotId, name, volume } = snapshotOf(input.recoveryPoint === undefined ? input.snapshot : 'v1');
      if (input.attach === true) throw new SgwError('unavailable', 'daemon-needed', 'this needs the gateway daemon');
      if (input.resume === true) throw new SgwError('notFound', 'restore-not-found', 'there is no such restore');
      return {
        restoreId: `${snapshotId}-01234567`,
        snapshotId,
        name,
        path: input.image,
        sizeBytes: volume.sizeBytes,
        state: 'completed',
        resumed: false,
        doneBytes: volume.sizeBytes,
        previous:
          input.force === true && input.snapshotFirst !== false
            ? { volumeId: volume.volumeId, volumeName: 'held', snapshotId, snapshotName: 'held-before-restore' }
            : null,
        export: null,
        durationMs: 5,
        remarks: [],
      };
    },
    'snapshot.import': async (input) => {
      if (input.file.endsWith('missing'))
        throw new SgwError('notFound', 'system-enoent', `${input.file} does not exist`);
      requireFree('snapshot', snapshots, input.name);
      const snapshot = addSnapshot(addVolume(input.volumeName ?? input.name, 16 * PAGE), input.name);
      return { ...snapshotDoc(snapshot), created: true };
    },
    'snapshot.delete': async (input) => {
      if (input.ifExists === true && !snapshots.some((one) => one.name === input.snapshot))
        return { ...nothingDeleted, preview: input.preview === true };
      const snapshot = snapshotOf(input.snapshot);
      const known = { ...nothingDeleted, id: snapshot.snapshotId, name: snapshot.name };
      if (input.preview === true) return { ...known, ...preview };
      snapshots.splice(snapshots.indexOf(snapshot), 1);
      return { ...known, deleted: true };
    },
    'snapshot.verify': async (input) => {
      const snapshot = snapshotOf(input.snapshot);
      return verifyDoc(snapshot.snapshotId, snapshot.name);
    },
    'store.check': async (input) => ({
      store: input.store ?? '/home/fake/store',
      provider: null,
      writable: true,
      probes: [
        {
          name: 'create-if-absent',
          ok: true,
          required: true,
          message: 'refused the second creation',
          durationMs: 1.25,
        },
      ],
      remarks: [],
    }),
    ...costHandlers(volumeOf, () => ({ volumes: volumes.length, snapshots: snapshots.length })),
  };

  const withoutActivation = new Set<OperationName>([
    ...(['activate', 'activation.begin', 'activation.await', 'activation.finish', 'activation.withdraw'] as const),
    ...(['status', 'store.check'] as const),
  ]);
  const api: LocalApi = {
    call: async <N extends OperationName>(name: N, input: Input<N>, context: CallContext): Promise<Result<N>> => {
      calls.push({ name, input });
      if (!withoutActivation.has(name) || (name === 'store.check' && (input as { store?: string }).store === undefined))
        requireActivated();
      if (encrypted && !withoutActivation.has(name)) {
        const secret = await context.secrets?.unlock();
        if (secret !== undefined) checkSecret(secret, SgwError);
      }
      return await handlers[name](input, context);
    },
    [Symbol.asyncDispose]: async () => {
      closed = true;
    },
  };
  return { api, calls, isClosed: () => closed };

  async function untilStopped({ signal, onProgress }: CallContext): Promise<void> {
    onProgress({ label: 'importing endless', doneBytes: PAGE, totalBytes: 1 << 30 });
    process.stderr.write('WORKING\n');
    await new Promise<void>((_resolve, reject) => {
      const timer = setInterval(() => undefined, 1000);
      signal.addEventListener(
        'abort',
        () => {
          clearInterval(timer);
          reject(signal.reason as Error);
        },
        { once: true },
      );
    });
  }
}

/** What `createFakeGateway` serves: attaching, detaching, settings of volumes. */
import type { SgwError as SgwErrorClass } from '../../src/core/kit/index.ts';
import type { Handlers, Result } from '../../src/core/localapi/index.ts';
import { ACCOUNT } from './fake-care.ts';

const TIME = '2026-11-22T23:45:00.000Z';

/** The settings of serving, all of them the defaults. */
export const SERVING: Result<'configure'>['serving'] = {
  listen: [],
  tls: 'off',
  tlsCertificate: null,
  tlsKey: null,
  tlsCa: null,
  tlsPsk: null,
  listExports: true,
  defaultExport: null,
  iscsiListen: [],
  iscsiPortals: [],
  iscsiDiscoveryUser: null,
  cacheBytes: null,
  cacheRamBytes: null,
  bufferBytes: null,
  sealIntervalMs: null,
  readAheadBytes: null,
};

interface Volume {
  readonly volumeId: string;
  readonly name: string;
  readonly sizeBytes: number;
}

export interface AttachmentParts {
  readonly SgwError: typeof SgwErrorClass;
  /** Whether a daemon runs. */
  readonly served: boolean;
  readonly volumeOf: (ref: string) => Volume;
}

type Attached = Result<'volume.attach'>;

export function attachmentHandlers({
  SgwError,
  served,
  volumeOf,
}: AttachmentParts): Pick<
  Handlers,
  | 'volume.attach'
  | 'volume.chap'
  | 'volume.detach'
  | 'volume.configure'
  | 'recovery-point.list'
  | 'doctor'
  | 'volume.recover-log'
> {
  const attached = new Map<string, Attached>();
  const requireDaemon = (): void => {
    if (!served)
      throw new SgwError('unavailable', 'daemon-needed', 'this needs the gateway daemon, which does not run');
  };
  return {
    'volume.attach': async (input) => {
      requireDaemon();
      const { volumeId, name, sizeBytes } = volumeOf(input.volume);
      const exportName = input.exportName ?? name;
      if (attached.has(exportName)) {
        throw new SgwError('conflict', 'volume-attached', `volume "${name}" is attached already`, {
          hint: `Detach it first: sgw volume detach ${exportName}`,
        });
      }
      const { protocols = ['nbd'], iscsi = {} } = input;
      const targetName = iscsi.targetName ?? `iqn.2026-11.internal.sgw:${volumeId}.${exportName}`;
      const isOverIscsi = protocols.includes('iscsi');
      const document: Attached = {
        exportName,
        kind: 'volume',
        name,
        volumeId,
        snapshotId: null,
        recoveryPointSeq: null,
        readOnly: input.readOnly ?? false,
        image: input.image ?? null,
        shadow: null,
        scratchVolumeId: null,
        state: 'available',
        reason: null,
        hint: null,
        retryAt: null,
        sizeBytes,
        ack: input.ack ?? 'log',
        clients: 0,
        connected: [],
        protocols: [...protocols],
        iscsi: isOverIscsi
          ? {
              targetName,
              lun: 0,
              portals: ['127.0.0.1:3260'],
              chapUser: iscsi.chap?.user ?? null,
              chapTargetUser: iscsi.chapTarget?.user ?? null,
              initiators: [...(iscsi.initiators ?? [])],
            }
          : null,
        dirtyBytes: 0,
        dirtyMs: 0,
        bufferBytes: 1 << 30,
        fullInMs: null,
        accountId: ACCOUNT,
        attachedAt: TIME,
        uris: [
          ...(protocols.includes('nbd') ? [`nbd+unix:///${exportName}?socket=/home/fake/nbd.sock`] : []),
          ...(isOverIscsi ? [`iscsi://127.0.0.1:3260/${targetName}/0`] : []),
        ],
        restore: null,
        created: true,
      };
      attached.set(exportName, document);
      return Promise.resolve(document);
    },
    'volume.chap': async (input) => {
      requireDaemon();
      const present = attached.get(input.volume);
      if (present === undefined) throw new SgwError('notFound', 'not-attached', `"${input.volume}" is not attached`);
      return Promise.resolve(present);
    },
    'volume.detach': async (input) => {
      requireDaemon();
      const present = attached.get(input.volume);
      attached.delete(input.volume);
      if (present === undefined && input.ifExists !== true)
        throw new SgwError('notFound', 'not-attached', `"${input.volume}" is not attached`);
      return Promise.resolve({
        exportName: present?.exportName ?? null,
        volumeId: present?.volumeId ?? null,
        snapshotId: null,
        detached: present !== undefined,
        drained: input.drain !== false,
        dirtyBytes: input.drain === false ? 4096 : 0,
        deletedVolumeId: null,
      });
    },
    doctor: async () =>
      Promise.resolve({
        ok: true,
        home: '/home/fake',
        checks: [{ name: 'clock', state: 'ok', message: 'it goes', hint: null, kind: null }],
      }),
    'volume.recover-log': async (input) => {
      const { volumeId, name, sizeBytes } = volumeOf(input.volume);
      return Promise.resolve({
        volumeId: 'vol-0000000000000000f',
        name: input.into,
        sizeBytes,
        fromVolumeId: volumeId,
        fromName: name,
        log: `/home/fake/volumes/${volumeId}/log-overtaken-1`,
        records: 7,
        baseSeq: 3,
        baseAt: TIME,
        damage: null,
        checkedBytes: 4096,
        durationMs: 5,
      });
    },
    'recovery-point.list': async (input) => {
      const { volumeId, name, sizeBytes } = volumeOf(input.volume);
      const recoveryPoints = [{ seq: 3, at: TIME, sizeBytes, mappedBytes: 4096, kept: true }];
      return Promise.resolve({ volumeId, name, recoveryPoints });
    },
    'volume.configure': async (input) => {
      const { volumeId, name } = volumeOf(input.volume);
      const { volume: _, reset: __, ...wanted } = input;
      const defaults = { ack: 'log' as const, bufferBytes: 1 << 30, sealIntervalMs: 10_000, readAheadBytes: 1 << 22 };
      const recovery = { allForMs: 3_600_000, allMax: 64, tiers: [{ periodMs: 3_600_000, forMs: 86_400_000 }] };
      const names = Object.keys(wanted);
      return Promise.resolve({ volumeId, name, ...defaults, recovery, ...wanted, own: names, changed: names });
    },
  };
}

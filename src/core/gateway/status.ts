/** What `status` tells, also of a home that is not activated and of a store that is out of reach. */
import type { VolumeEntry } from '../blockstore/index.ts';
import { formatRate, toSgwError, type SgwError } from '../kit/index.ts';
import type { AttachmentDocument, CallContext, ScheduleDocument, StatusDocument } from '../localapi/index.ts';
import { freeBytes, sharesFileSystem } from '../objectstore/index.ts';
import { GATEWAY_LOCK, lockHolder, openState, type GatewayState } from '../state/index.ts';
import { limitsAt } from './bandwidth.ts';
import { damageRemark, readVolumeSummaries } from './documents.ts';
import type { GatewayParts } from './parts.ts';
import type { TakeoverProgram } from './groups/takeover-program.ts';
import type { Session } from './session.ts';
import type { GroupVolumeReport } from '../replication/index.ts';
import { logsSetAside } from './serving/local-log.ts';
import { iscsiRemarks, waitingText } from './serving/portals.ts';
import type { WaitingListener } from './serving/served.ts';
import { isDirectory, openableStore, wayRemarks } from './store-place.ts';
import { importAgain } from './unfinished-import.ts';

/** Codes of a store that is there, encrypted, and not opened by this call. */
const SHUT: ReadonlySet<string> = new Set([
  'key-missing',
  'wrong-key',
  'bad-key-file',
  'bad-recovery-code',
  'bad-secret-file',
  'one-of',
]);

const NOTHING = {
  ...{ activated: false, gateway: null, store: null },
  volumes: { count: 0, sizeBytes: 0, mappedBytes: 0 },
  snapshots: { count: 0, unverified: 0, unsound: 0 },
};
const UNKNOWN = {
  volumes: { count: null, sizeBytes: null, mappedBytes: null },
  snapshots: { count: null, unverified: null, unsound: null },
};

const notActivatedRemark = ({ activation }: Pick<StatusDocument, 'activation'>): string =>
  `This home is not activated: sgw activate${activation === undefined ? '' : ', which goes on with what was begun'}`;

/** Of a gateway, or an activation, over the network. */
async function serviceDocuments(
  { home }: GatewayParts,
  record: GatewayState | null,
): Promise<Pick<StatusDocument, 'service' | 'activation'>> {
  if (record?.service !== undefined) {
    const { certificateEnd } = await import('./network/identity.ts');
    const { url, gatewayUrl, serviceId } = record.service;
    return { service: { url, gatewayUrl, serviceId, certificateEndsAt: await certificateEnd(home) } };
  }
  const activation = record === null ? (await openState(home)).activation : null;
  if (activation?.service === undefined) return {};
  const { step, expiresAt, service } = activation;
  return { activation: { service: service.url, state: step, expiresAt: step === 'shown' ? expiresAt : null } };
}

/** What is known without the store. */
interface Here {
  readonly exports: readonly AttachmentDocument[];
  readonly schedules: readonly ScheduleDocument[];
  readonly waiting: readonly WaitingListener[];
  readonly takeovers: Pick<TakeoverProgram, 'lastFailure'>;
  /** Of the group, as far as this gateway knows. */
  readonly grouped: readonly GroupVolumeReport[];
}

/** `openSession` may fail: then the store is told to be out of reach, and why. Takes no lock. */
export async function readStatus(
  parts: GatewayParts,
  record: GatewayState | null,
  openSession: () => Promise<Session>,
  known: Here,
  call: CallContext,
): Promise<StatusDocument> {
  const { version, home } = parts;
  const [exports, schedules] = [[...known.exports], [...known.schedules]];
  const common = {
    ...{ version, home, daemon: await daemonOf(home), exports, schedules },
    ...(await serviceDocuments(parts, record)),
  };
  if (record === null) return { ...common, ...NOTHING, remarks: [notActivatedRemark(common)] };
  const here = [...remarksHere(known, record), ...(await logsSetAside(home)).map(asideRemark)];
  const { gatewayId, name, mode, region, activatedAt } = record;
  const gateway = { gatewayId, name, mode, accountId: record.accountId, region, activatedAt };
  try {
    const session = await openSession();
    const contents = await countContents(session, call);
    const store = await describeStore(parts.home, record);
    const remarks = [
      ...here,
      ...bandwidthRemark(parts, record),
      ...contents.damage,
      ...contents.unfinished.map(unfinishedRemark),
      ...sharedDiskRemark(store.sharesDiskWithHome),
    ];
    const { volumes, snapshots } = contents;
    return { ...common, volumes, snapshots, activated: true, gateway, store, remarks };
  } catch (error) {
    const failure = toSgwError(error);
    if (failure.kind === 'aborted' || failure.code === 'account-not-found') throw failure;
    if (SHUT.has(failure.code)) {
      const store = await describeStore(parts.home, record);
      const remarks = [
        ...here,
        `What the store holds is not known here: ${failure.message}.${hintOf(failure)}`,
        ...sharedDiskRemark(store.sharesDiskWithHome),
      ];
      return { ...common, ...UNKNOWN, activated: true, gateway, store, remarks };
    }
    const store = {
      description: openableStore(parts.home, record.store),
      storeId: record.storeId,
      reachable: false,
      sharesDiskWithHome: false,
      freeBytes: null,
    };
    return {
      ...common,
      ...UNKNOWN,
      activated: true,
      gateway,
      store,
      remarks: [...here, `The store can not be used: ${failure.message}.${hintOf(failure)}`],
    };
  }
}

const remarksHere = (here: Here, { gatewayId, store }: GatewayState): string[] => [
  ...takeoverRemarks(here.takeovers),
  ...here.waiting.map(waitingRemark),
  ...exportRemarks(here.exports),
  ...groupRemarks(here.grouped, gatewayId),
  ...scheduleRemarks(here.schedules),
  ...wayRemarks(store),
];

const takeoverRemarks = ({ lastFailure }: Here['takeovers']): string[] =>
  lastFailure === undefined
    ? []
    : [
        `The program for take-overs failed at ${lastFailure.at}, after that of ${lastFailure.exportName}: ${lastFailure.message}.`,
      ];

const asideRemark = (path: string): string =>
  `The write log ${path} was set aside: it holds writes that are not in the store. sgw doctor`;

const waitingRemark = (listener: WaitingListener): string =>
  `${waitingText(listener)}. It is tried again every few seconds.${hintOf(listener.failure)}`;

/** What of the exports needs attention. */
function exportRemarks(exports: readonly AttachmentDocument[]): string[] {
  const stopped = exports.filter(({ state }) => state === 'stopped');
  const waiting =
    stopped.length === 0
      ? []
      : [
          `${stopped.map(({ exportName }) => exportName).join(', ')} can not be reached: no gateway runs. sgw gateway start`,
        ];
  const troubled = exports.flatMap(({ exportName, state, reason, hint }) =>
    reason === null || state === 'stopped'
      ? []
      : [`Export ${exportName} is ${state}: ${reason}.${hint === null ? '' : ` ${hint}`}`],
  );
  return [...waiting, ...troubled, ...exports.flatMap(iscsiRemarks)];
}

/** Of volumes that this gateway holds; how the others do, their holders tell. */
const groupRemarks = (grouped: readonly GroupVolumeReport[], gatewayId: string): string[] =>
  grouped.flatMap(({ volume, holder, reason }) =>
    holder === gatewayId && reason !== null ? [`Export ${volume.exportName}: ${reason}. sgw group show`] : [],
  );

/** What of the schedules needs attention. */
function scheduleRemarks(schedules: readonly ScheduleDocument[]): string[] {
  const stopped = schedules.filter(({ state }) => state === 'stopped').map(({ name }) => name);
  const waiting =
    stopped.length === 0
      ? []
      : [`No snapshots of ${stopped.join(', ')} are made on schedule: no gateway runs. sgw gateway start`];
  const failed = schedules.flatMap(({ name, failure }) =>
    failure === null ? [] : [`The schedule of ${name} fails since ${failure.at}: ${failure.message}.`],
  );
  const unsound = schedules.flatMap(({ name, verify }) => {
    const { last = null, failure = null } = verify ?? {};
    if (failure !== null)
      return [`The snapshots of ${name} can not be verified since ${failure.at}: ${failure.message}.`];
    if (last === null || last.ok) return [];
    return [`Snapshot ${last.name} of ${name} was verified at ${last.at} and is not sound: ${last.message ?? ''}.`];
  });
  return [...waiting, ...failed, ...unsound];
}

/** The daemon holds a lock of the home for as long as it lives. */
async function daemonOf(home: string): Promise<StatusDocument['daemon']> {
  const owner = await lockHolder(home, GATEWAY_LOCK);
  return owner === undefined
    ? { running: false, pid: null, since: null }
    : { running: true, pid: owner.pid, since: owner.since };
}

const hintOf = ({ hint }: SgwError): string => (hint === undefined ? '' : ` ${hint}`);

interface Contents {
  readonly volumes: StatusDocument['volumes'];
  readonly snapshots: StatusDocument['snapshots'];
  readonly damage: readonly string[];
  readonly unfinished: readonly VolumeEntry[];
}

async function countContents(session: Session, call: CallContext): Promise<Contents> {
  const { catalog } = session;
  const { summaries, remarks, unfinished } = await readVolumeSummaries(session, { signal: call.signal });
  const snapshots = await catalog.surveySnapshots({ signal: call.signal });
  const completed = snapshots.entries.filter(({ state }) => state === 'completed');
  return {
    volumes: {
      count: summaries.length,
      sizeBytes: summaries.reduce((sum, volume) => sum + volume.sizeBytes, 0),
      mappedBytes: summaries.reduce((sum, volume) => sum + volume.mappedBytes, 0),
    },
    snapshots: {
      count: snapshots.entries.length + snapshots.damaged.length,
      unverified: completed.filter(({ verified }) => verified === undefined).length,
      unsound: completed.filter(({ verified }) => verified?.ok === false).length,
    },
    damage: [...remarks, ...snapshots.damaged.map(({ id, error }) => damageRemark('Snapshot', id, error))],
    unfinished,
  };
}

async function describeStore(home: string, record: GatewayState): Promise<NonNullable<StatusDocument['store']>> {
  const place = openableStore(home, record.store);
  return {
    description: place,
    storeId: record.storeId,
    reachable: true,
    sharesDiskWithHome: isDirectory(place) && (await sharesFileSystem(home, place)),
    freeBytes: isDirectory(place) ? await freeBytes(place) : null,
  };
}

const unfinishedRemark = (entry: VolumeEntry): string =>
  `Volume ${entry.name} has an import that is not finished, and perhaps running. ${importAgain(entry)}`;

const sharedDiskRemark = (isShared: boolean): string[] =>
  isShared ? ['The store and the home are on one file system: losing that disk loses both.'] : [];

function bandwidthRemark({ clock }: GatewayParts, { bandwidth }: GatewayState): string[] {
  const { uploadBytesPerSecond: up, downloadBytesPerSecond: down } = limitsAt(bandwidth, clock.nowMs());
  const limits = [
    ...(up === null ? [] : [`uploads to ${formatRate(up)}`]),
    ...(down === null ? [] : [`downloads to ${formatRate(down)}`]),
  ];
  return limits.length === 0 ? [] : [`Traffic with the store is limited, ${limits.join(' and ')}: sgw bandwidth show`];
}

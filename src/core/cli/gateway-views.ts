/** How the gateway and its store look to people. */
import { formatSize, printable } from '../kit/index.ts';
import { exposureText, restoreText } from './attachment-views.ts';
import type {
  ActivationDocument,
  AttachmentDocument,
  ControlConnectionDocument,
  StatusDocument,
  StoreCheckDocument,
} from '../localapi/index.ts';
import type { ConfigurationDocument } from './documents.ts';
import { scheduleField } from './schedule.ts';
import { recoveryCodeText } from './store-views.ts';
import type { Style } from './style.ts';
import { formatDuration, formatTime, plural, renderFields, renderTable, withRemarks, type Field } from './tables.ts';

const ENCRYPTIONS = {
  none: null,
  customer: 'by a key that only you hold',
  provider: "by the service, whose provider holds your account's key",
} as const;

/** What `activate` made. `codeFile` holds the recovery code when it is not to be shown. */
export function activationFields(result: ActivationDocument, style: Style, codeFile: string | null): string {
  const fields = renderFields(
    [
      ['gateway', `${result.name} (${result.gatewayId})${result.created ? '' : ', activated before'}`],
      ['mode', result.mode],
      ['account', result.accountId],
      ['home', result.home],
      ['store', `${result.store} (${result.storeId})`],
      ['region', result.region],
      ['encryption', ENCRYPTIONS[result.encryption]],
    ],
    style,
  );
  return `${withRemarks(fields, result.remarks, style)}${recoveryCodeText(result.recoveryCode, style, codeFile)}`;
}

/** What `status` tells, its remarks last, where they are read. */
export function statusText(status: StatusDocument, style: Style): string {
  const { gateway, store } = status;
  const fields = renderFields(
    [
      gateway === null
        ? ['gateway', 'not activated', style.yellow]
        : ['gateway', `${gateway.name} (${gateway.gatewayId}), ${gateway.mode}`],
      ['account', gateway?.accountId ?? null],
      ['region', gateway?.region ?? null],
      ['activated', gateway === null ? null : `${formatTime(gateway.activatedAt)} UTC`],
      ['home', status.home],
      ...serviceFields(status, style),
      ['store', store === null ? null : `${store.description} (${store.storeId})`],
      store?.reachable === true ? ['reachable', 'yes', style.green] : ['reachable', store && 'no', style.red],
      ['free space', freeSpace(status)],
      daemonField(status, style),
      ['volumes', volumeTotals(status)],
      ['snapshots', snapshotTotals(status)],
      ...status.exports.map((one): Field => exportField(one, style)),
      ...status.schedules.map((one): Field => scheduleField(one, style)),
      ['version', status.version],
    ],
    style,
  );
  return withRemarks(fields, status.remarks, style);
}

/** The service of a gateway that was activated over the network, or is about to be. */
function serviceFields({ service, activation }: StatusDocument, style: Style): Field[] {
  if (activation !== undefined) return [['activation', `${activation.state} at ${activation.service}`]];
  if (service === undefined) return [];
  const end = service.certificateEndsAt;
  return [
    ['service', `${service.url}, activated over the network`],
    [
      'certificate',
      end === null ? 'none; it is got when it is needed' : `until ${formatTime(end)} UTC, renewed before`,
    ],
    ...(service.connection === undefined ? [] : [connectionField(service.connection, style)]),
  ];
}

/** To whom a gateway is connected that a service manages, or why it is not. */
export function connectionField(
  { state, server, since, remoteManagement, lastFailure }: ControlConnectionDocument,
  style: Style,
): Field {
  const managed = remoteManagement ? '' : '; remote management is off';
  if (state === 'connected')
    return ['connection', `to ${server ?? ''} since ${formatTime(since)} UTC${managed}`, style.green];
  const why = lastFailure === null ? '' : `: ${printable(lastFailure.message)}`;
  return ['connection', `none since ${formatTime(since)} UTC, tried again${why}${managed}`, style.yellow];
}

/** One export in a line: what it is, how it does, and what is not in the store yet. */
function exportField(one: AttachmentDocument, style: Style): Field {
  const isWell = one.state === 'available';
  const clients = one.clients === 0 ? [] : [plural(one.clients, 'client')];
  const exposure = exposureText(one);
  const restored = restoreText(one);
  const details = [exposure, restored === null ? null : `restored ${restored}`].filter((text) => text !== null);
  const text = [one.state, ...details, ...clients].join(', ');
  return [`export ${one.exportName}`, text, isWell ? style.green : style.yellow];
}

function daemonField({ daemon }: StatusDocument, style: Style): Field {
  if (!daemon.running) return ['daemon', 'not running'];
  const since = daemon.since === null ? '' : ` since ${formatTime(daemon.since)} UTC`;
  return ['daemon', `running, process ${String(daemon.pid)}${since}`, style.green];
}

/** The settings of the gateway and the user's preferences. */
export function configurationFields(document: ConfigurationDocument, style: Style): string {
  const { gateway, preferences, changed, applied, requested = [] } = document;
  const fields = renderFields(
    [
      ...servingFields(gateway?.serving),
      ['name', gateway?.name ?? null],
      ['mode', gateway?.mode ?? null],
      ['version', gateway === null ? null : String(gateway.version)],
      ['remote management', onOff(gateway?.remoteManagement)],
      ...memberFields(gateway),
      ['default home', preferences.defaultHome ?? 'not set'],
      ['output', preferences.output],
      ['color', preferences.color],
      [
        'service kept',
        preferences.service ? `${preferences.service.url}, access key ${preferences.service.accessKeyId}` : null,
      ],
      ['changed', changed.length === 0 ? null : changed.join(', ')],
      ['requested', requested.length === 0 ? null : requested.join(', ')],
    ],
    style,
  );
  return withRemarks(fields, [...applied, ...providerRemarks(gateway?.provider)], style);
}

const onOff = (isOn: boolean | undefined): string | null => (isOn === undefined ? null : isOn ? 'on' : 'off');

/** Settings of a member of a group. */
const memberFields = (gateway: ConfigurationDocument['gateway']): Field[] =>
  gateway === null
    ? []
    : [
        ['members connect to', gateway.peerListen ?? 'a port of this machine alone'],
        ['on take-over', gateway.onTakeover],
      ];

type Provider = NonNullable<ConfigurationDocument['gateway']>['provider'];

/** Who owns the settings, what waits for him, and what he answered last. */
function providerRemarks(provider: Provider): string[] {
  if (provider === undefined) return [];
  const { service, version, request, answer } = provider;
  return [
    `Name, sizes and intervals are the provider's: ${service}, version ${String(version)}.`,
    ...(request === null ? [] : [`Requested, and waits for the provider: ${settingsText(request.settings)}.`]),
    ...(answer === null || request !== null ? [] : [answerText(answer)]),
  ];
}

type Settings = NonNullable<NonNullable<Provider>['request']>['settings'];

const settingsText = (settings: Settings): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name} ${value === null ? 'default' : String(value)}`)
    .join(', ');

function answerText({ accepted, reason, answeredAt }: NonNullable<NonNullable<Provider>['answer']>): string {
  const what = accepted ? 'accepted' : 'refused';
  return `The provider ${what} the last request at ${answeredAt}${reason === null ? '.' : `: ${reason}`}`;
}

type ServingSettings = NonNullable<ConfigurationDocument['gateway']>['serving'];

function servingFields(serving: ServingSettings | undefined): Field[] {
  if (serving === undefined) return [];
  const size = (bytes: number | null): string => (bytes === null ? 'default' : formatSize(bytes));
  return [
    ['listens at', serving.listen.length === 0 ? 'nbd.sock in the home' : serving.listen.join(', ')],
    ['tls', serving.tls],
    ['exports listed', serving.listExports ? 'yes' : 'no'],
    ['default export', serving.defaultExport],
    ['iscsi portals', serving.iscsiListen.join(', ') || '127.0.0.1:3260 where something is served over iSCSI'],
    ['told to initiators', serving.iscsiPortals.join(', ') || null],
    ['iscsi discovery', serving.iscsiDiscoveryUser === null ? null : `by CHAP as ${serving.iscsiDiscoveryUser}`],
    ['cache', size(serving.cacheBytes)],
    ['in memory', size(serving.cacheRamBytes)],
    ['upload buffer', size(serving.bufferBytes)],
    ['seal interval', serving.sealIntervalMs === null ? 'default' : formatDuration(serving.sealIntervalMs)],
    ['read-ahead', size(serving.readAheadBytes)],
  ];
}

/** The probes of `store check`. */
export async function storeCheckText(check: StoreCheckDocument, style: Style, columns: number): Promise<string> {
  const probes = await renderTable(
    check.probes,
    [
      { head: 'PROBE', value: (probe) => probe.name },
      { head: 'RESULT', value: (probe) => (probe.ok ? 'ok' : probe.required ? 'FAILED' : 'no') },
      { head: 'MS', value: (probe) => probe.durationMs.toFixed(1), align: 'right' },
      { head: '', value: (probe) => probe.message, isCut: true },
    ],
    style,
    columns,
  );
  const verdict = check.writable
    ? style.green('This store can be written to.')
    : style.red('This store is refused for writing.');
  const provider = check.provider === null ? '' : ` (${printable(check.provider)})`;
  return withRemarks(`${printable(check.store)}${provider}\n\n${probes}\n\n${verdict}`, check.remarks, style);
}

/** A count that can not be had while the store can not be read. */
/** Of the completed ones: how many were never verified, and how many are not sound. */
function snapshotTotals({ snapshots: { count, unverified, unsound }, schedules }: StatusDocument): string {
  // Who verifies nothing knows that.
  const verifies = unverified !== count || schedules.some(({ verify }) => verify !== null);
  const details = [
    ...(unverified === null || unverified === 0 || !verifies ? [] : [`${String(unverified)} never verified`]),
    ...(unsound === null || unsound === 0 ? [] : [`${String(unsound)} not sound`]),
  ];
  return [known(count), ...details].join(', ');
}

const known = (count: number | null): string => (count === null ? 'unknown' : String(count));

function volumeTotals({ volumes }: StatusDocument): string {
  const sizes = [volumes.sizeBytes, volumes.mappedBytes].map((bytes: number | null) => bytes ?? 0);
  const [sizeBytes = 0, mappedBytes = 0] = sizes;
  const count = known(volumes.count);
  return volumes.count === null ? count : `${count}, ${formatSize(sizeBytes)}, ${formatSize(mappedBytes)} of data`;
}

function freeSpace({ store }: StatusDocument): string | null {
  const freeBytes = store?.freeBytes ?? null;
  return freeBytes === null ? null : formatSize(freeBytes);
}

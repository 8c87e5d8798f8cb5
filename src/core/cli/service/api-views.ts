/** How what a service answers looks to people. */
import type {
  AccessKeyCreated,
  AccessKeyList,
  AccessKeyRevoked,
  RemoteActivationDocument,
  ServiceActivationDocument,
  ServiceGatewayConfigured,
  ServiceGatewayDocument,
  ServiceGatewayList,
  ServiceGatewayShutdown,
} from '../../localapi/index.ts';
import { statusText } from '../gateway-views.ts';
import type { Style } from '../style.ts';
import { formatTime, renderFields, renderTable, withRemarks, type Field } from '../tables.ts';
import { statusIn } from './calls.ts';

type Gateway = ServiceGatewayList['gateways'][number];

/** An activation that nobody waits for. */
export const pendingFields = (result: RemoteActivationDocument, style: Style): string =>
  renderFields(
    [
      ['service', result.service],
      ['activation key', result.activationKey],
      ['good until', result.expiresAt === null ? null : `${formatTime(result.expiresAt)} UTC`],
      ['fingerprint of its key', result.keyFingerprint],
      ['to claim it', result.claimUrl],
    ],
    style,
  );

/** A gateway that was claimed. */
export const claimFields = (result: ServiceActivationDocument, style: Style): string =>
  renderFields(
    [
      ['gateway', `${result.gatewayName} (${result.gatewayId})`],
      ['account', result.accountId],
      ['mode', result.mode],
      ['region', result.region],
    ],
    style,
  );

/** The only time that the secret is shown. */
export const createdKeyFields = (key: AccessKeyCreated, style: Style): string =>
  withRemarks(
    renderFields(
      [
        ['access key id', key.accessKeyId],
        ['secret', key.secretAccessKey],
        ['account', key.accountId],
        ['user', key.userName],
      ],
      style,
    ),
    ['The secret is shown only now. Keep it where nobody else reads it.'],
    style,
  );

export async function accessKeyTable({ keys }: AccessKeyList, style: Style, columns: number): Promise<string> {
  if (keys.length === 0) return 'There are no access keys.';
  return await renderTable(
    keys,
    [
      { head: 'ID', value: (key) => key.accessKeyId },
      { head: 'USER', value: (key) => key.userName, isCut: true },
      { head: 'ACCOUNT', value: (key) => key.accountId },
      { head: 'CREATED (UTC)', value: (key) => formatTime(key.createdAt) },
      { head: 'STATE', value: (key) => (key.revokedAt === null ? 'good' : `revoked ${formatTime(key.revokedAt)}`) },
    ],
    style,
    columns,
  );
}

export const revokedKeyFields = (key: AccessKeyRevoked, style: Style): string =>
  renderFields(
    [
      ['access key id', key.accessKeyId],
      ['user', key.userName],
      ['revoked', `${formatTime(key.revokedAt ?? '')} UTC${key.changed ? '' : ', before'}`],
    ],
    style,
  );

export async function serviceGatewayTable(
  { gateways }: ServiceGatewayList,
  style: Style,
  columns: number,
): Promise<string> {
  if (gateways.length === 0) return 'There are no gateways.';
  return await renderTable(
    gateways,
    [
      { head: 'ID', value: (gateway) => gateway.gatewayId },
      { head: 'NAME', value: (gateway) => gateway.gatewayName, isCut: true },
      { head: 'MODE', value: (gateway) => gateway.mode },
      { head: 'ACCOUNT', value: (gateway) => gateway.accountId },
      { head: 'STATE', value: (gateway) => gateway.state },
      { head: 'SINCE (UTC)', value: (gateway) => formatTime(gateway.deregisteredAt ?? gateway.registeredAt) },
    ],
    style,
    columns,
  );
}

const gatewayFields = (gateway: Gateway): readonly Field[] => [
  ['gateway', `${gateway.gatewayName} (${gateway.gatewayId})`],
  ['account', gateway.accountId],
  ['mode', gateway.mode],
  ['region', gateway.region],
  ['state', gateway.state],
  ['registered', `${formatTime(gateway.registeredAt)} UTC`],
  ['deregistered', gateway.deregisteredAt === null ? null : `${formatTime(gateway.deregisteredAt)} UTC`],
  ['configuration', `version ${String(gateway.configurationVersion)}`],
  ['fingerprint of its key', gateway.keyFingerprint],
];

type Standing = ServiceGatewayConfigured['configuration'];

/** What is wanted of it, and what is in force. */
function standingFields(standing: Standing | null): readonly Field[] {
  if (standing === null) return [];
  const { version, settings, receipt } = standing;
  const wanted = Object.entries(settings).filter(
    ([name, value]) => value !== null && !(name === 'listExports' && value),
  );
  const isNewest = receipt?.appliedVersion === version;
  return [
    ['settings', wanted.length === 0 ? 'defaults of the gateway' : settingsText(Object.fromEntries(wanted))],
    [
      'in force',
      receipt === null
        ? 'not known yet'
        : `version ${String(receipt.appliedVersion)}${isNewest ? '' : ', not the newest'}`,
    ],
  ];
}

const settingsText = (settings: Standing['settings']): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name} ${value === null ? 'default' : String(value)}`)
    .join(', ');

function standingRemarks(gatewayId: string, standing: Standing | null): string[] {
  if (standing === null) return [];
  const { receipt, request } = standing;
  const failure = receipt?.failure ?? null;
  return [
    ...(failure === null ? [] : [`It can not have the version that it was sent: ${failure.message}.`]),
    ...(request === null
      ? []
      : [
          `Its operator asks for ${settingsText(request.settings)} since ${formatTime(request.requestedAt)} UTC: ` +
            `sgw service gateway configure ${gatewayId} --accept, or --refuse --reason TEXT`,
        ]),
  ];
}

/** What the service knows, then what the gateway itself says. */
export function serviceGatewayText(document: ServiceGatewayDocument, style: Style): string {
  const status = statusIn(document);
  const fields = renderFields(
    [
      ...gatewayFields(document),
      ...standingFields(document.configuration),
      document.reachable
        ? ['reachable', 'yes', style.green]
        : ['reachable', `no: ${document.reason ?? ''}`, style.yellow],
    ],
    style,
  );
  const known = withRemarks(fields, standingRemarks(document.gatewayId, document.configuration), style);
  return status === null ? known : `${known}\n\nIt says of itself:\n${statusText(status, style)}`;
}

export const configuredGatewayFields = (document: ServiceGatewayConfigured, style: Style): string =>
  withRemarks(
    renderFields(
      [
        ...gatewayFields(document),
        ...standingFields(document.configuration),
        ['changed', changedText(document)],
        ['delivered', document.undelivered === null ? 'yes' : `not yet: ${document.undelivered.message}`],
      ],
      style,
    ),
    standingRemarks(document.gatewayId, document.configuration),
    style,
  );

function changedText({ changed, changedSettings }: ServiceGatewayConfigured): string {
  if (!changed) return 'no, it was so already';
  return changedSettings.length === 0 ? 'no setting' : changedSettings.join(', ');
}

export const shutdownFields = (document: ServiceGatewayShutdown, style: Style): string =>
  withRemarks(
    renderFields(
      [
        ['gateway', `${document.gatewayName} (${document.gatewayId})`],
        ['stopped', document.stopped ? 'yes' : 'no'],
        ['deregistered', document.deregistered ? 'yes' : 'no'],
      ],
      style,
    ),
    document.remarks,
    style,
  );

/** The document of `state.json`: docs/formats/state.md. Fields are only added, by a new schema version and a migration. */

import {
  findBad,
  isAccount,
  isObject,
  isText,
  isTime,
  orAbsent,
  orNull,
  SERVING_FIELDS,
  type AttachmentState,
  type Check,
  type Checks,
  type ServingSettings,
  type VolumeSettingsState,
} from './serving.ts';
import { isBandwidth, type BandwidthState } from './bandwidth.ts';
import { isProvided, type ProvidedState } from './provided.ts';
import { areSchedules, type ScheduleState } from './schedules.ts';

export const SCHEMA_VERSION = 4;

export const GATEWAY_MODES = ['cached', 'shadowing'] as const;

/** How a store's contents are sealed: not at all, or by a key that only the customer holds. */
export const ENCRYPTIONS = ['none', 'customer', 'provider'] as const;

/** What activation made of this home. */
export interface GatewayState {
  gatewayId: string;
  name: string;
  mode: (typeof GATEWAY_MODES)[number];
  /** 12 digits. */
  accountId: string;
  region: string;
  /** A directory inside the home relative to the home, another one as an absolute path; or a URL. */
  store: string;
  storeId: string;
  /** What the store must say of itself: one that lost its key derivation would be written in clear. Never a key. */
  encryption: (typeof ENCRYPTIONS)[number];
  /** RFC 3339, UTC. */
  activatedAt: string;
  /** From 1; grows with every change of the configuration. */
  configurationVersion: number;
  /** What the service gave for later requests; null in a home that was activated before there was one. */
  credential: GatewayCredential | null;
  /** The key that was claimed, spent since; null in a home that was activated without one. */
  activationKey: string | null;
  /** What the device told of itself at activation. */
  metadata: Record<string, string>;
  serving: ServingSettings;
  /** By volume id, for volumes that have settings of their own. */
  volumeSettings: Record<string, VolumeSettingsState>;
  /** What a running daemon serves, in the order of attaching. */
  attachments: AttachmentState[];
  /** Absent: no limit. */
  bandwidth?: BandwidthState;
  /** Nothing is served until it is resumed. Absent: it serves. */
  suspended?: true;
  /** Snapshot schedules by volume id. Absent: none. */
  schedules?: Record<string, ScheduleState>;
  /** Whether the service may operate the gateway. Absent: it may, where it is not embedded. */
  remoteManagement?: boolean;
  /** Where members of its group connect to it, `HOST:PORT`. Absent: a port of this machine alone. */
  peerListen?: string;
  /** A program, by its absolute path, that is run when a volume was taken over here. Absent: none. */
  onTakeover?: string;
  /** Absent: the service is embedded, and its store is the gateway's. The certificate is in a file of its own. */
  service?: RemoteServiceState;
  /** With `service`: what of the configuration is the provider's. Absent: nothing came yet. */
  provided?: ProvidedState;
}

/** The service that a home was activated at over the network. Nothing of it is secret. */
export interface RemoteServiceState {
  /** Where customers and devices reach it: `https://HOST:PORT`. */
  url: string;
  /** PEM of whom to believe there; null: whom the system trusts. */
  urlCa: string | null;
  /** Its id, which requests are signed for. */
  serviceId: string;
  /** Where gateways reach it: `https://HOST:PORT`. */
  gatewayUrl: string;
  /** PEM of the CA that the service's listener for gateways and their certificates are from. */
  gatewayCa: string;
  /** Further servers that the service said gateways may connect to: `https://HOST:PORT`. Absent: none. */
  controlServers?: string[];
}

/** Of no use without the private key, which is in a file of its own. */
export interface GatewayCredential {
  credentialId: string;
  /** Of the public key that it is bound to. */
  keyFingerprint: string;
  /** RFC 3339, UTC. */
  issuedAt: string;
}

/**
 * How far activation has come (docs/formats/state.md): `begun` (the key pair is there) -> `shown` (the service gave the
 * activation key) -> `claimed` (the customer's words are here) -> `issued` (the credential is here). Then it becomes the
 * gateway.
 */
export const ACTIVATION_STEPS = ['begun', 'shown', 'claimed', 'issued'] as const;

export interface PendingActivation {
  step: (typeof ACTIVATION_STEPS)[number];
  /** Ed25519, base64url: the private key's file has to match it. */
  publicKey: string;
  metadata: Record<string, string>;
  /** What was asked for, or, from `claimed` on, what the customer said. */
  name: string;
  mode: (typeof GATEWAY_MODES)[number];
  accountId: string;
  region: string;
  store: string;
  storeId: string;
  /** From `claimed` on; before that only in a home that has an identity already. */
  gatewayId: string | null;
  /** From `shown` on. */
  activationId: string | null;
  activationKey: string | null;
  expiresAt: string | null;
  /** From `issued` on. */
  credential: GatewayCredential | null;
  /** Over the network; `gatewayCa` is empty until the certificate is there. Absent: embedded. */
  service?: RemoteServiceState;
}

export interface StateDocument {
  schemaVersion: typeof SCHEMA_VERSION;
  /** Null until activated. */
  gateway: GatewayState | null;
  /** Null unless an activation is under way, or was stopped. */
  activation: PendingActivation | null;
}

/** The state of a home where nothing has been done. */
export function emptyState(): StateDocument {
  return { schemaVersion: SCHEMA_VERSION, gateway: null, activation: null };
}

const isTexts: Check = (value) => isObject(value) && Object.values(value).every((text) => typeof text === 'string');

const CREDENTIAL_FIELDS: Checks<GatewayCredential> = {
  credentialId: isText,
  keyFingerprint: isText,
  issuedAt: isTime,
};
const isCredential = orNull((value) => findBad(value, CREDENTIAL_FIELDS) === undefined);

/** Of what was asked for at activation, and is the gateway's later. */
const SETTING_FIELDS = {
  name: isText,
  mode: (value: unknown) => GATEWAY_MODES.some((mode) => mode === value),
  accountId: isAccount,
  region: isText,
  store: isText,
  storeId: isText,
  metadata: isTexts,
  activationKey: orNull(isText),
  credential: isCredential,
} as const;

const SERVICE_FIELDS: Checks<Required<RemoteServiceState>> = {
  url: isText,
  urlCa: orNull(isText),
  serviceId: isText,
  gatewayUrl: isText,
  gatewayCa: (value) => typeof value === 'string',
  controlServers: orAbsent((value) => Array.isArray(value) && value.every(isText)),
};
const isService: Check = (value) => findBad(value, SERVICE_FIELDS) === undefined;

const GATEWAY_FIELDS: Checks<Required<GatewayState>> = {
  ...SETTING_FIELDS,
  ...SERVING_FIELDS,
  gatewayId: isText,
  encryption: (value) => ENCRYPTIONS.some((encryption) => encryption === value),
  activatedAt: isTime,
  bandwidth: orAbsent(isBandwidth),
  suspended: orAbsent((value) => value === true),
  schedules: orAbsent(areSchedules),
  service: orAbsent(isService),
  provided: orAbsent(isProvided),
  peerListen: orAbsent(isText),
  onTakeover: orAbsent(isText),
  remoteManagement: orAbsent((value) => typeof value === 'boolean'),
  configurationVersion: (value) => Number.isSafeInteger(value) && (value as number) >= 1,
};

const ACTIVATION_FIELDS: Checks<Required<PendingActivation>> = {
  ...SETTING_FIELDS,
  step: (value) => ACTIVATION_STEPS.some((step) => step === value),
  publicKey: isText,
  gatewayId: orNull(isText),
  activationId: orNull(isText),
  expiresAt: orNull(isTime),
  service: orAbsent(isService),
};

/** The path of the first field that is not as the type says; undefined when all are. */
export function findBadField(value: unknown): string | undefined {
  if (!isObject(value)) return 'document';
  if (value['schemaVersion'] !== SCHEMA_VERSION) return 'schemaVersion';
  const parts = [
    ['gateway', GATEWAY_FIELDS],
    ['activation', ACTIVATION_FIELDS],
  ] as const;
  for (const [name, checks] of parts) {
    if (value[name] === null) continue;
    const bad = findBad(value[name], checks);
    if (bad !== undefined) return bad === '' ? name : `${name}.${bad}`;
  }
  return undefined;
}

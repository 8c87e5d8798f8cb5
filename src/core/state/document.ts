/** The document of `state.json`: docs/formats/state.md. Fields are only added, by a new schema version and a migration. */

export const SCHEMA_VERSION = 1;

export const GATEWAY_MODES = ['cached', 'shadowing'] as const;

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
  /** RFC 3339, UTC. */
  activatedAt: string;
  /** From 1; grows with every change of the configuration. */
  configurationVersion: number;
}

export interface StateDocument {
  schemaVersion: typeof SCHEMA_VERSION;
  /** Null until activated. */
  gateway: GatewayState | null;
}

/** The state of a home where nothing has been done. */
export function emptyState(): StateDocument {
  return { schemaVersion: SCHEMA_VERSION, gateway: null };
}

type Check = (value: unknown) => boolean;
const isText: Check = (value) => typeof value === 'string' && value !== '';

const GATEWAY_FIELDS: Readonly<Record<keyof GatewayState, Check>> = {
  gatewayId: isText,
  name: isText,
  mode: (value) => GATEWAY_MODES.some((mode) => mode === value),
  accountId: (value) => typeof value === 'string' && /^[0-9]{12}$/.test(value),
  region: isText,
  store: isText,
  storeId: isText,
  activatedAt: (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value)),
  configurationVersion: (value) => Number.isSafeInteger(value) && (value as number) >= 1,
};

/** The path of the first field that is not as the type says; undefined when all are. */
export function findBadField(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return 'document';
  const { schemaVersion, gateway } = value as Record<string, unknown>;
  if (schemaVersion !== SCHEMA_VERSION) return 'schemaVersion';
  if (gateway === null) return undefined;
  if (typeof gateway !== 'object') return 'gateway';
  const fields = gateway as Record<string, unknown>;
  const bad = Object.entries(GATEWAY_FIELDS).find(([name, isGood]) => !isGood(fields[name]));
  return bad === undefined ? undefined : `gateway.${bad[0]}`;
}

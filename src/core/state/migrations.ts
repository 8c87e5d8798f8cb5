/**
 * From every older schema version to the next. A row is kept for ever, so that a home of any released version opens.
 * A migration is a pure function of the document; the result is written at the next change, not by reading.
 */
import { SgwError } from '../kit/index.ts';
import { SCHEMA_VERSION } from './document.ts';

export type AnyDocument = Readonly<Record<string, unknown>>;
export type Migration = (document: AnyDocument) => AnyDocument;

/** The settings of serving of version 3, all of them the defaults. */
const SERVING_3 = {
  ...{ unixSocket: null, tcp: [], tls: 'off', tlsCertificate: null, tlsKey: null, tlsCa: null, tlsPsk: null },
  ...{ listExports: true, defaultExport: null, cacheBytes: null, cacheRamBytes: null },
  ...{ bufferBytes: null, sealIntervalMs: null, readAheadBytes: null },
};

/** `MIGRATIONS[n]` makes version n + 1 of version n. */
const MIGRATIONS: Readonly<Record<number, Migration>> = {
  // Version 0 was used before the first release: it had no configuration version and no region.
  0: (document) => {
    const gateway = document['gateway'];
    if (typeof gateway !== 'object' || gateway === null) return { ...document, schemaVersion: 1, gateway: null };
    return { ...document, schemaVersion: 1, gateway: { region: 'local', configurationVersion: 1, ...gateway } };
  },
  // Version 1 knew no encryption and no service: such a gateway gets its credential when it first needs one.
  1: (document) => {
    const gateway = document['gateway'];
    const added = { encryption: 'none', credential: null, activationKey: null, metadata: {} };
    return {
      ...document,
      schemaVersion: 2,
      gateway: typeof gateway === 'object' && gateway !== null ? { ...added, ...gateway } : gateway,
      activation: null,
    };
  },
  // Version 2 served nothing.
  2: (document) => {
    const gateway = document['gateway'];
    const added = { serving: SERVING_3, volumeSettings: {}, attachments: [] };
    return {
      ...document,
      schemaVersion: 3,
      gateway: typeof gateway === 'object' && gateway !== null ? { ...gateway, ...added } : gateway,
    };
  },
  // Version 3 served everything over NBD, and nothing over anything else.
  3: (document) => {
    const gateway = document['gateway'];
    const isOpen = (value: unknown): value is AnyDocument => typeof value === 'object' && value !== null;
    if (!isOpen(gateway)) return { ...document, schemaVersion: 4 };
    const { serving, attachments } = gateway;
    const added = { iscsiListen: [], iscsiPortals: [], iscsiDiscoveryUser: null };
    const overNbd = (row: unknown): unknown => (isOpen(row) ? { ...row, protocols: ['nbd'], iscsi: null } : row);
    return {
      ...document,
      schemaVersion: 4,
      gateway: {
        ...gateway,
        serving: isOpen(serving) ? { ...serving, ...added } : serving,
        attachments: Array.isArray(attachments) ? attachments.map(overNbd) : attachments,
      },
    };
  },
};

/**
 * Brings `document` to this version's schema.
 * @throws unsupported `state-newer` when a newer version wrote it.
 */
export function migrate(document: AnyDocument, path: string): AnyDocument {
  const version = document['schemaVersion'];
  // Whatever is no version is left to the check of fields that follows.
  if (typeof version !== 'number' || !Number.isSafeInteger(version)) return document;
  if (version > SCHEMA_VERSION) {
    throw new SgwError(
      'unsupported',
      'state-newer',
      `${path} was written by a newer version of sgw (schema ${String(version)})`,
      {
        hint: 'Use that version, or a newer one.',
        details: { path, schemaVersion: version, schemaVersionMax: SCHEMA_VERSION },
      },
    );
  }
  let current = document;
  for (let from = version; from < SCHEMA_VERSION; from++) {
    const step = MIGRATIONS[from];
    if (step === undefined) break;
    current = step(current);
  }
  return current;
}

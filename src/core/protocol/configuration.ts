/**
 * The configuration of a gateway that was activated over the network: its provider owns it, one document with a version.
 * It goes down the held connection, and the gateway answers with a receipt; what the operator at the gateway wants
 * otherwise goes up as a request, and the answer to that comes down with the next version (DESIGN section 9).
 */

/**
 * How the gateway serves, as far as that can be judged from afar. Sizes in bytes, times in milliseconds; null: the
 * gateway's default. Paths, listeners, portals, TLS and the secrets of CHAP are the local operator's.
 */
export interface ProvidedServing {
  readonly listExports: boolean;
  readonly defaultExport: string | null;
  readonly cacheBytes: number | null;
  readonly cacheRamBytes: number | null;
  readonly bufferBytes: number | null;
  readonly sealIntervalMs: number | null;
  readonly readAheadBytes: number | null;
}

/** As activation leaves them. Its fields are all that a provider owns of a gateway's serving. */
export const DEFAULT_PROVIDED_SERVING: ProvidedServing = {
  listExports: true,
  defaultExport: null,
  cacheBytes: null,
  cacheRamBytes: null,
  bufferBytes: null,
  sealIntervalMs: null,
  readAheadBytes: null,
};

/** Settings that somebody wants otherwise; what is absent stays. */
export interface ConfigurationChanges {
  readonly name?: string;
  readonly region?: string;
  readonly serving?: Partial<ProvidedServing>;
}

/** What the local operator asked of the provider. One at a time: a later one takes up what is still pending. */
export interface ConfigurationRequest {
  /** `req-` and 16 hex digits. */
  readonly requestId: string;
  readonly requestedAt: string;
  readonly changes: ConfigurationChanges;
}

/** How a request ended. */
export interface RequestAnswer {
  readonly requestId: string;
  readonly accepted: boolean;
  readonly answeredAt: string;
  /** Words of whoever answered; null: none. */
  readonly reason: string | null;
}

export interface GatewayConfiguration {
  /** From 1; grows with every change, and with every answer to a request. */
  readonly version: number;
  readonly name: string;
  /** Fixed at activation. */
  readonly mode: 'cached' | 'shadowing';
  readonly region: string;
  readonly serving: ProvidedServing;
  /** To the newest request that was answered; null while none was. */
  readonly answer: RequestAnswer | null;
}

/** What the gateway says of a version that it was sent. Until the next one, nothing of a failed version is in force. */
export interface ConfigurationReceipt {
  /** The version that it was sent. */
  readonly version: number;
  /** The version that is in force: at least that one, unless it failed. */
  readonly appliedVersion: number;
  /** Why the version that it was sent is not in force; null when it is. */
  readonly failure: { readonly code: string; readonly message: string; readonly hint: string | null } | null;
}

/** What the service knows of a gateway's configuration. */
export interface ConfigurationStanding {
  readonly gatewayId: string;
  /** What is wanted. */
  readonly configuration: GatewayConfiguration;
  /** The gateway's newest receipt; null while it sent none. */
  readonly receipt: (ConfigurationReceipt & { readonly at: string }) | null;
  /** What its operator asked for and nobody has answered. */
  readonly request: ConfigurationRequest | null;
}

/** What came of changing it. */
export interface ConfigurationEffect {
  /** Whether there is another version now. */
  readonly changed: boolean;
  /** Names of the settings that are wanted otherwise now. */
  readonly changedSettings: readonly string[];
  readonly standing: ConfigurationStanding;
  /** Null: the gateway gave a receipt for the newest version. Else why it did not, as far as was waited for. */
  readonly undelivered: { readonly code: string; readonly message: string } | null;
}

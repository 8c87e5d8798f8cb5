/**
 * Alerts: what an account wants to be told of its gateways, by a webhook that the service calls, so that the way does not
 * lead through the gateway (DESIGN section 9).
 */

/** Each that is given fires by itself, for each gateway; absent: not watched. */
export interface AlertThresholds {
  /** Acknowledged and not in the store, of any one volume. */
  readonly exposureBytes?: number;
  /** Age of the oldest write that is not in the store, of any one volume. */
  readonly exposureMs?: number;
  /** An upload buffer will be full within that time, or is. */
  readonly timeToFullMs?: number;
  /** No connection of the gateway for that long. */
  readonly notConnectedMs?: number;
  /** The newest verification of a schedule found its snapshot unsound, or could not be done. */
  readonly restoreProof?: true;
}

export type ThresholdName = keyof AlertThresholds;

export interface AlertWish {
  /** Of the account. */
  readonly name: string;
  /** Null: every gateway of the account, also those to come. */
  readonly gatewayId: string | null;
  readonly thresholds: AlertThresholds;
  /** `https://`, without user and fragment. */
  readonly webhookUrl: string;
  /** Told again as long as it fires; null: once. */
  readonly repeatMs: number | null;
  /** Signs deliveries; null: the one that it has, or a new one. */
  readonly secret: string | null;
}

/** Something that is above its threshold now, or was not told to an end. */
export interface AlertFiring {
  readonly gatewayId: string;
  readonly threshold: ThresholdName;
  readonly state: 'firing' | 'resolved';
  readonly since: string;
  /** As measured last, in the threshold's unit; null where it has none. */
  readonly value: number | null;
  /** Names of the volumes that it is about, at most 16; empty where it is about the gateway. */
  readonly subjects: readonly string[];
  /** When the webhook last took a message of it; null: not yet. */
  readonly deliveredAt: string | null;
  /** Why it last did not; null when it did. */
  readonly failure: string | null;
}

export interface AlertRecord extends Omit<AlertWish, 'secret'> {
  /** `alert-` and 16 hex digits. */
  readonly alertId: string;
  readonly accountId: string;
  readonly createdAt: string;
  readonly firing: readonly AlertFiring[];
}

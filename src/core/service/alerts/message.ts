/** What a webhook is told (docs/formats/service.md). Fields are only ever added. */
import type { GatewayRecord } from '../identity/gateways.ts';
import type { FiringState, StoredAlert } from './records.ts';

/** The body of the pending message, JSON: the same at each try, but for the value measured last. */
export function messageBody(
  { gatewayId, gatewayName, accountId }: GatewayRecord,
  { alertId, name, thresholds }: StoredAlert,
  { threshold, state, since, value, subjects, message, deliveredAt }: FiringState,
): string {
  return JSON.stringify({
    messageId: message?.messageId ?? null,
    kind: message?.kind ?? state,
    /** Told before, and going on. */
    isRepeated: message?.kind === 'firing' && deliveredAt !== null,
    at: message?.at ?? since,
    since,
    accountId,
    alert: { alertId, name },
    gateway: { gatewayId, name: gatewayName },
    threshold,
    limit: thresholds[threshold] ?? null,
    value,
    volumes: subjects,
  });
}

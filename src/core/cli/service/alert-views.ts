/** How alerts look to people, and how people write their thresholds. */
import { formatSize } from '../../kit/index.ts';
import type { AlertList, AlertRemoved, AlertSet } from '../../localapi/index.ts';
import type { Style } from '../style.ts';
import { formatDuration, formatTime, renderFields, renderTable, withRemarks } from '../tables.ts';

type Alert = AlertList['alerts'][number];
type Firing = Alert['firing'][number];

const THRESHOLDS: Readonly<Record<string, { readonly text: string; readonly unit: (value: number) => string }>> = {
  exposureBytes: { text: 'exposure above', unit: formatSize },
  exposureMs: { text: 'exposed for more than', unit: formatDuration },
  timeToFullMs: { text: 'buffer full within', unit: formatDuration },
  notConnectedMs: { text: 'not connected for', unit: formatDuration },
  restoreProof: { text: 'restore proof failed', unit: () => '' },
};

function thresholdText(name: string, value: number | true | null | undefined): string {
  const { text = name, unit = String } = THRESHOLDS[name] ?? {};
  return typeof value === 'number' ? `${text} ${unit(value)}` : text;
}

const thresholdsText = (alert: Alert): string =>
  Object.entries(alert.thresholds)
    .map(([name, value]) => thresholdText(name, value))
    .join(', ');

/** The only time that a secret which the service made is shown. */
export const alertSetFields = (alert: AlertSet, style: Style): string =>
  withRemarks(
    renderFields(
      [
        ['alert', alert.name],
        ['gateways', alert.gatewayId ?? 'all of the account'],
        ['when', thresholdsText(alert)],
        ['webhook', alert.webhookUrl],
        ['repeated', alert.repeatMs === null ? 'no' : `every ${formatDuration(alert.repeatMs)}`],
        ['secret', alert.secret],
      ],
      style,
    ),
    alert.secret === null ? [] : ['The secret signs what the webhook gets. It is shown only now.'],
    style,
  );

export async function alertTable({ alerts }: AlertList, style: Style, columns: number): Promise<string> {
  if (alerts.length === 0) return 'There are no alerts.';
  const table = await renderTable(
    alerts,
    [
      { head: 'NAME', value: (alert) => alert.name },
      { head: 'GATEWAYS', value: (alert) => alert.gatewayId ?? 'all' },
      { head: 'WHEN', value: thresholdsText, isCut: true },
      { head: 'FIRING', value: (alert) => String(alert.firing.filter(({ state }) => state === 'firing').length) },
      { head: 'WEBHOOK', value: (alert) => new URL(alert.webhookUrl).host },
    ],
    style,
    columns,
  );
  return withRemarks(
    table,
    alerts.flatMap((alert) => alert.firing.map((each) => firingText(alert, each))),
    style,
  );
}

function firingText({ name, thresholds }: Alert, firing: Firing): string {
  const { gatewayId, threshold, state, since, subjects, deliveredAt, failure } = firing;
  const limit = thresholds[threshold as keyof Alert['thresholds']];
  const what = state === 'firing' ? thresholdText(threshold, limit) : `no more ${thresholdText(threshold, limit)}`;
  const who = subjects.length === 0 ? gatewayId : `${gatewayId} (${subjects.join(', ')})`;
  const told =
    failure !== null
      ? `not told yet: ${failure}`
      : deliveredAt === null
        ? 'not told yet'
        : `told at ${formatTime(deliveredAt)} UTC`;
  return `${name}: ${who} ${what} since ${formatTime(since)} UTC; ${told}.`;
}

export const alertRemovedText = ({ name, removed }: AlertRemoved): string =>
  removed ? `Removed alert ${name}.` : `There is no alert ${name}.`;

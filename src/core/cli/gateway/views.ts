/** How a running gateway and what it serves look to people. */
import { formatSize, printable } from '../../kit/index.ts';
import type { GatewayDocument, GatewayReloadDocument, GatewayStopDocument } from '../../localapi/index.ts';
import type { GatewayRestartDocument, GatewayStartDocument } from '../documents.ts';
import { connectionField } from '../gateway-views.ts';
import type { Style } from '../style.ts';
import { formatDuration, formatTime, plural, renderFields, renderTable } from '../tables.ts';

export const gatewayStartFields = (result: GatewayStartDocument, style: Style): string =>
  renderFields(
    [
      [
        'gateway',
        result.started ? `started, process ${String(result.pid)}` : `runs already, process ${String(result.pid)}`,
      ],
      ['socket', result.socket],
      ['log', result.log],
      ['took', result.started ? formatDuration(result.durationMs) : null],
    ],
    style,
  );

export function gatewayStopFields(result: GatewayStopDocument, style: Style): string {
  if (!result.stopped) return 'The gateway does not run.';
  const { drained, dirtyBytes } = result;
  const left =
    drained === true
      ? 'everything is'
      : drained === null
        ? 'not known'
        : `all but ${formatSize(dirtyBytes ?? 0)}, which stays in the home`;
  return renderFields(
    [
      ['gateway', `stopped, process ${String(result.pid)}`],
      drained === false ? ['in the store', left, style.yellow] : ['in the store', left],
      ['took', formatDuration(result.durationMs)],
    ],
    style,
  );
}

export const gatewayRestartFields = (result: GatewayRestartDocument, style: Style): string =>
  renderFields(
    [
      ['gateway', `process ${String(result.pid)}${result.previousPid === null ? ', none ran before' : ''}`],
      ['replaced', result.previousPid === null ? null : `process ${String(result.previousPid)}`],
      ['socket', result.socket],
      ['log', result.log],
      ['pause', formatDuration(result.pauseMs)],
    ],
    style,
  );

export const gatewayReloadText = ({ changes }: GatewayReloadDocument, style: Style): string =>
  changes.length === 0
    ? 'Nothing is different.'
    : changes.map((change) => `${style.dim('-')} ${printable(change)}`).join('\n');

/** The daemon, then its volumes. */
export async function gatewayText(gateway: GatewayDocument, style: Style, columns: number): Promise<string> {
  const { memory, cache, volumes } = gateway;
  const fields = renderFields(
    [
      ['gateway', `${gateway.name} (${gateway.gatewayId}), ${gateway.mode}`],
      gateway.state === 'serving' ? ['state', 'serving', style.green] : ['state', gateway.state, style.yellow],
      ['process', `${String(gateway.pid)}, in the ${gateway.background ? 'background' : 'foreground'}`],
      ['since', `${formatTime(gateway.startedAt)} UTC (${formatDuration(gateway.uptimeMs)})`],
      ...(gateway.connection === undefined ? [] : [connectionField(gateway.connection, style)]),
      ['socket', gateway.socket],
      ['metrics', gateway.metricsUrl],
      ['memory', `${formatSize(memory.residentBytes)}, processor time ${formatDuration(gateway.cpuMs)}`],
      ['calls', gateway.calls === 0 ? null : `${plural(gateway.calls, 'call')} under way`],
      [
        'cache',
        cache === null
          ? null
          : `${formatSize(cache.fileUsedBytes)} of ${formatSize(cache.fileLimitBytes)}, in memory ${formatSize(cache.ramUsedBytes)} of ${formatSize(cache.ramLimitBytes)}`,
      ],
      ['volumes', volumes.length === 0 ? 'none is attached' : null],
      ['version', gateway.version],
    ],
    style,
  );
  if (volumes.length === 0) return fields;
  const table = await renderTable(
    volumes,
    [
      { head: 'VOLUME', value: (volume) => volume.name, isCut: true },
      { head: 'EXPORT', value: (volume) => volume.exportName ?? '-', isCut: true },
      { head: 'STATE', value: (volume) => `${volume.state}${volume.readOnly ? ', read-only' : ''}` },
      { head: 'SIZE', value: (volume) => formatSize(volume.sizeBytes), align: 'right' },
      { head: 'CLIENTS', value: (volume) => String(volume.connections), align: 'right' },
      { head: 'NOT IN STORE', value: (volume) => formatSize(volume.dirtyBytes), align: 'right' },
      {
        head: 'SINCE',
        value: (volume) => (volume.dirtyMs === 0 ? '-' : formatDuration(volume.dirtyMs)),
        align: 'right',
      },
    ],
    style,
    columns,
  );
  const reasons = volumes.flatMap(({ name, reason }) =>
    reason === null ? [] : [`${style.yellow('note:')} ${printable(name)}: ${printable(reason)}`],
  );
  return [`${fields}\n`, table, ...reasons].join('\n');
}

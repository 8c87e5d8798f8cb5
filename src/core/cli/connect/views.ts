/** What people read of a connection that follows a volume. */
import { formatSize, printable } from '../../kit/index.ts';
import type { ConnectEvent } from '../documents.ts';
import { formatDuration } from '../tables.ts';

/** One line for one document, without a line feed. */
export function connectText(document: ConnectEvent): string {
  return printable(textOf(document));
}

function textOf(document: ConnectEvent): string {
  const { event, exportName, address, afterMs, waiting, repeated, reason, sizeBytes } = document;
  const at = address ?? 'its gateway';
  const size = sizeBytes === null ? '' : `, ${formatSize(sizeBytes)}`;
  switch (event) {
    case 'ready':
      return `${exportName}${size} is at ${(document.uris ?? []).join(' and ')}`;
    case 'found':
      if (afterMs === null) return `found at ${at}`;
      return `found at ${at} after ${durationOf(afterMs)}; ${requests(repeated)} sent again`;
    case 'lost':
      return `lost ${at}: ${reason ?? ''}; ${requests(waiting)} waiting`;
    case 'silent':
      return `${at} has not answered for ${durationOf(afterMs)}; ${requests(waiting)} waiting`;
    case 'resumed':
      return `${at} answers again after ${durationOf(afterMs)}`;
    case 'looking':
      return `looking for its gateway: ${reason ?? ''}`;
    case 'resized':
      return `it is larger now${size}`;
    case 'closed':
      return `${exportName} is served no more`;
  }
}

const requests = (count: number | null): string => (count === 1 ? '1 request' : `${String(count ?? 0)} requests`);

function durationOf(ms: number | null): string {
  if (ms === null) return 'some time';
  return ms < 10_000 ? `${String(ms)} ms` : formatDuration(ms);
}

/** What the schedules did, in the log. */
import type { ScheduleEvent } from '../../gateway/index.ts';
import type { Logger } from '../../kit/index.ts';

export function reportSchedule(log: Logger, event: ScheduleEvent): void {
  const { volumeId } = event;
  switch (event.kind) {
    case 'made':
      log.info({ volumeId, snapshot: event.name, dueAt: event.dueAt }, 'a schedule made a snapshot');
      return;
    case 'thinned':
      if (event.names.length > 0)
        log.info({ volumeId, snapshots: event.names }, 'a schedule deleted snapshots that it does not keep');
      return;
    case 'verified':
      if (event.ok) log.info({ volumeId, snapshot: event.name }, 'a snapshot was verified');
      else log.error({ volumeId, snapshot: event.name, reason: event.message }, 'a snapshot is not sound');
      return;
    case 'failed':
      log.warn({ volumeId, err: event.failure, retryInMs: event.retryInMs }, 'a schedule failed, and is tried again');
      return;
  }
}

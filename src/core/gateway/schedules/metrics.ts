/** What the schedules do, in figures for Prometheus: docs/METRICS.md. Read from what the runner knows when it is asked. */
import { Gauge, Registry } from 'prom-client';
import type { ScheduleState } from '../../state/index.ts';
import type { Schedules } from './book.ts';

const MS = 1000;
const seconds = (time: string | undefined): number | undefined =>
  time === undefined ? undefined : Date.parse(time) / MS;

/** Name, help, value in base units; undefined where there is none. */
const GAUGES: readonly (readonly [string, string, (schedule: ScheduleState) => number | undefined])[] = [
  [
    'sgw_schedule_last_success_timestamp_seconds',
    'When the newest snapshot on schedule was made.',
    (s) => seconds(s.last?.at),
  ],
  ['sgw_schedule_failing', '1 while the schedule fails, else 0.', (s) => (s.failure === null ? 0 : 1)],
  [
    'sgw_schedule_last_verified_timestamp_seconds',
    'When a snapshot was last verified and found sound.',
    ({ verify }) => seconds(verify?.lastOkAt ?? undefined),
  ],
  [
    'sgw_schedule_verification_failed',
    '1 when the newest verification found a snapshot that is not sound, or could not be tried, else 0; absent without one.',
    ({ verify }) => (verify === undefined ? undefined : verify.last?.ok === false || verify.failure !== null ? 1 : 0),
  ],
];

/** A registry of its own. */
export function scheduleMetrics(schedules: () => Schedules): { text(): Promise<string> } {
  const registry = new Registry();
  for (const [name, help, value] of GAUGES) {
    new Gauge({
      name,
      help,
      labelNames: ['volume', 'volume_id'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [volumeId, schedule] of Object.entries(schedules())) {
          const now = value(schedule);
          if (now !== undefined) this.set({ volume: schedule.volumeName, volume_id: volumeId }, now);
        }
      },
    });
  }
  return { text: async () => registry.metrics() };
}

/**
 * A target that was opened: its logical unit, and the sessions that use it. The unit outlives sessions, since registrations of persistent
 * reservations do.
 */
import { LogicalUnit, type Nexus, type UnitIdentity } from './scsi/index.ts';
import type { Session } from './session.ts';
import type { TargetSession, TargetTasks } from './task-management.ts';

export class ServedTarget implements TargetTasks {
  readonly unit: LogicalUnit;
  readonly #sessions = new Map<Nexus, Session>();

  constructor(identity: UnitIdentity) {
    this.unit = new LogicalUnit({ identity, abortTasks: (nexus) => this.#abortTasks(nexus) });
  }

  get sessions(): TargetSession[] {
    return [...this.#sessions].map(([nexus, session]) => ({ nexus, session }));
  }

  add(nexus: Nexus, session: Session): void {
    this.#sessions.set(nexus, session);
  }

  remove(nexus: Nexus): void {
    this.#sessions.delete(nexus);
    this.unit.leave(nexus);
  }

  endSessions(): void {
    for (const session of this.#sessions.values()) void session.end(undefined);
  }

  #abortTasks(nexus: Nexus): Promise<void> | undefined {
    const session = this.#sessions.get(nexus);
    const tasks = session?.tasks;
    const all = tasks?.which((task) => !task.isExecuting) ?? [];
    if (tasks === undefined || all.length === 0) return undefined;
    return tasks.abort(all).then(() => session?.tellWindow());
  }
}

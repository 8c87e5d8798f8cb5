/** A day of a served volume's life; `npm run test:sim -- --week` lives a week. */
import { expect, it } from 'vitest';
import { Week } from './week.ts';

it('a simulated day of bursts and idle hours stays within the configuration, and asks the store nothing while idle', async () => {
  const report = await new Week({ seed: 1, days: 1 }).run();
  expect(report.hours).toBe(24);
  expect(report.writes).toBeGreaterThan(100);
  expect(report.commits).toBeGreaterThan(10);
  expect(report.removed).toBeGreaterThan(0);
  expect(report.idleRequests).toBe(0);
}, 60_000);

/** Requests held against the published model. */
import { describe, expect, it } from 'vitest';
import { pageOf } from '../../../../src/core/service/aws/storagegateway/paging.ts';
import { checkShape } from '../../../../src/core/service/aws/storagegateway/shapes.ts';
import { minutesEastOf } from '../../../../src/core/service/aws/storagegateway/timezones.ts';

const ARN = `arn:aws:storagegateway:eu-1:111111111111:gateway/sgw-12345678`;

describe('a request', () => {
  it('has what the model knows, and loses what it does not', () => {
    const sent = { GatewayARN: ARN, DiskIds: ['cache'], Other: 1 };
    expect(checkShape('AddCacheInput', sent)).toEqual({ GatewayARN: ARN, DiskIds: ['cache'] });
    expect(checkShape('ListGatewaysInput', { Marker: null })).toEqual({});
  });

  it('without what is required, too short, too long, or of another form says what is wrong', () => {
    const check = (shape: string, value: unknown) => () => checkShape(shape, value);
    expect(check('AddCacheInput', {})).toThrow(
      "1 validation error detected: Value null at 'gatewayARN' failed to satisfy constraint: Member must not be null",
    );
    expect(check('AddCacheInput', { GatewayARN: 'x', DiskIds: [] })).toThrow(
      "Value 'x' at 'gatewayARN' failed to satisfy constraint: Member must have length greater than or equal to 50",
    );
    expect(check('AddCacheInput', { GatewayARN: ARN, DiskIds: [null] })).toThrow("at 'diskIds.1'");
    expect(check('UpdateSnapshotScheduleInput', { VolumeARN: ARN, StartAt: 24, RecurrenceInHours: 1 })).toThrow(
      /volumeARN.*regular expression/,
    );
    expect(check('TargetName', 'Upper')).toThrow('regular expression pattern');
    expect(check('HourOfDay', 24)).toThrow('Member must have value less than or equal to 23');
    expect(check('SnapshotId', 'snap-123')).toThrow('regular expression pattern');
    expect(checkShape('SnapshotId', 'snap-0123ABCD')).toBe('snap-0123ABCD');
  });

  it('with another type can not be read', () => {
    for (const value of [1, true, {}, []])
      expect(() => checkShape('TargetName', value)).toThrow(expect.objectContaining({ code: 'aws-serialization' }));
    for (const value of [1.5, '1', 2 ** 60])
      expect(() => checkShape('HourOfDay', value)).toThrow(expect.objectContaining({ code: 'aws-serialization' }));
  });

  it('never has its secrets in what is said of it', () => {
    const sent = {
      TargetARN: `${ARN}/target/iqn.x`,
      InitiatorName: 'iqn.x',
      SecretToAuthenticateInitiator: 'k'.repeat(101),
    };
    expect(() => checkShape('UpdateChapCredentialsInput', sent)).toThrow("Value '***'");
  });
});

describe('a time zone', () => {
  it('is so many minutes ahead of UTC', () => {
    expect([minutesEastOf('GMT'), minutesEastOf('GMT+5:30'), minutesEastOf('GMT-08:00')]).toEqual([0, 330, -480]);
    for (const wrong of ['', 'UTC', 'GMT+15:00', 'GMT+1', 'GMT+1:60', ' GMT'])
      expect(() => minutesEastOf(wrong), wrong).toThrow();
  });
});

describe('a list in pages', () => {
  const rows = Array.from({ length: 250 }, (_, i) => `row-${String(i).padStart(3, '0')}`);
  it('goes on where a page ended, a hundred at a time, also when rows went meanwhile', () => {
    const first = pageOf(rows, (row) => row, {});
    expect(first.rows).toHaveLength(100);
    const left = rows.filter((row) => row !== 'row-099');
    const second = pageOf(left, (row) => row, { Marker: first.Marker });
    expect(second.rows[0]).toBe('row-100');
    const third = pageOf(rows, (row) => row, { Marker: second.Marker, Limit: 1000 });
    expect(third).toEqual({ rows: rows.slice(200) });
    expect(pageOf([], (row: string) => row, {})).toEqual({ rows: [] });
  });

  it('takes no marker that is none', () => {
    for (const Marker of ['!', 'a', '=='])
      expect(() => pageOf(rows, (row) => row, { Marker })).toThrow(
        expect.objectContaining({ errorCode: 'InvalidParameters' }),
      );
  });
});

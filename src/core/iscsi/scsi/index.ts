/** The SCSI device server of room `iscsi`: SPC-4 and SBC-3 over a block device. It knows no transport. */
export { STATUS, type Nexus, type ScsiCommand, type ScsiResult, type UnitIdentity } from './contract.ts';
export { LogicalUnit, type LogicalUnitParts } from './logical-unit.ts';

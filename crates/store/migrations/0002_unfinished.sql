-- What a start, an approvals page and an audit page look for, without a scan.

CREATE INDEX session_busy ON session (updated, id) WHERE busy = 1;
CREATE INDEX audit_tenant ON audit (tenant, no);

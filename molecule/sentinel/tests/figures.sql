-- How far the load's reports are. Of the database itself: a shell of Django's takes seconds to start.
SELECT json_build_object(
  'asked', count(*),
  'done', count(*) FILTER (WHERE state = 'done'),
  'unfinished', count(*) FILTER (WHERE state IN ('pending', 'running')),
  'ends', coalesce(json_agg(extract(epoch FROM moved_at) ORDER BY moved_at) FILTER (WHERE state = 'done'), '[]'),
  'runs', (SELECT count(*) FROM core_taskrun WHERE name = 'analytics.tasks.generate_reports' AND state = 'SUCCESS')
)
FROM analytics_report JOIN auth_user ON auth_user.id = owner_id
WHERE username = 'load';

"""A job that somebody else has written, done by mapped tasks: what engines do with it, on Airflow's own workers."""

from datetime import timedelta

from airflow.sdk import DAG, get_current_context, task

from airflow_ee.operators.pixels import EarthEngineCommitJobOperator, EarthEngineRunJobPartOperator

with DAG(
    dag_id="mapped_job",
    schedule=None,
    params={"job_uri": "", "parts": 4},
    default_args={"retries": 3, "retry_delay": timedelta(seconds=1)},
    render_template_as_native_obj=True,
) as dag:

    @task
    def cut():
        """One mapped task for each."""
        params = get_current_context()["params"]
        return [
            {"job_uri": params["job_uri"], "part": part, "parts": params["parts"]} for part in range(params["parts"])
        ]

    fetch = EarthEngineRunJobPartOperator.partial(task_id="fetch", tasks_at_once=4).expand_kwargs(cut())
    fetch >> EarthEngineCommitJobOperator(task_id="commit", job_uri="{{ params.job_uri }}")

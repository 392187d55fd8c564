"""Pictures of layers and of searches, as matplotlib figures that no global state knows of."""

from evonas.report.pictures.charts import MEAN as MEAN
from evonas.report.pictures.charts import draw_front as draw_front
from evonas.report.pictures.charts import draw_fronts as draw_fronts
from evonas.report.pictures.charts import draw_progress as draw_progress
from evonas.report.pictures.curves import draw_curves as draw_curves
from evonas.report.pictures.figure import stacked as stacked
from evonas.report.pictures.figure import to_array as to_array
from evonas.report.pictures.figure import to_png as to_png
from evonas.report.pictures.heatmap import HeatCell as HeatCell
from evonas.report.pictures.heatmap import draw_heatmap as draw_heatmap
from evonas.report.pictures.images import draw_images as draw_images
from evonas.report.pictures.intervals import IntervalRow as IntervalRow
from evonas.report.pictures.intervals import draw_intervals as draw_intervals
from evonas.report.pictures.layer import draw_genome as draw_genome
from evonas.report.pictures.layer import is_drawable as is_drawable
from evonas.report.pictures.panels import Points as Points
from evonas.report.pictures.panels import draw_panels as draw_panels
from evonas.report.pictures.panels import panels_of as panels_of
from evonas.report.pictures.predictions import draw_predictions as draw_predictions
from evonas.report.pictures.response import draw_response as draw_response
from evonas.report.pictures.shrinkage import Believed as Believed
from evonas.report.pictures.shrinkage import draw_shrinkage as draw_shrinkage
